"""Published samplers in their papers' own variables, by the name of the preset; steps are unequal.

A formula is ``(model, times, x, z, **options) -> x``, with z() the next noise.
"""

from .adams import adams, classical, in_log_rho, in_rho, in_t
from .model import DATA, Model
from .multistep import er_sde, multistep, sa_solver, unipc
from .noise_level import edm, restart
from .one_step import ddim, ddpm, dpm_solver_2, dpm_solver_3, dpmpp_2s, seeds_2

__all__ = ["DATA", "PUBLISHED", "Model"]

PUBLISHED = {
    "ddim": (ddim, {}),
    "ddpm": (ddpm, {}),
    "dpm-solver-1": (ddim, {}),
    "dpm-solver-2": (dpm_solver_2, {}),
    "dpm-solver-3": (dpm_solver_3, {}),
    "dpmpp-2s": (dpmpp_2s, {}),
    "dpmpp-2m": (multistep, {"order": 2, "eta": 0}),
    "dpmpp-3m": (multistep, {"order": 3, "eta": 0, "factor": 2.0}),
    "dpmpp-3m-published": (multistep, {"order": 3, "eta": 0, "two": "midpoint"}),
    "dpmpp-2m-sde": (multistep, {"order": 2, "eta": 1}),
    "dpmpp-3m-sde": (multistep, {"order": 3, "eta": 1, "factor": 2.0}),
    "deis": (adams, {"order": 3, "integral": in_log_rho}),
    "deis-rho": (adams, {"order": 3, "integral": in_rho}),
    "deis-t": (adams, {"order": 3, "integral": in_t}),
    "lms": (adams, {"order": 4, "integral": in_rho}),
    "ipndm": (adams, {"order": 4, "integral": classical}),
    "unipc-2": (unipc, {"order": 2, "bh1": False}),
    "unipc-2-bh1": (unipc, {"order": 2, "bh1": True}),
    "unipc-3": (unipc, {"order": 3, "bh1": False}),
    "unipc-3-bh1": (unipc, {"order": 3, "bh1": True}),
    "sa-solver": (sa_solver, {}),
    "er-sde-2": (er_sde, {"order": 2}),
    "er-sde-3": (er_sde, {"order": 3}),
    "edm-heun": (edm, {}),
    "edm-heun-churn": (edm, {"churn": 40.0, "low": 0.05, "high": 50.0, "scale": 1.003}),
    "seeds-2": (seeds_2, {}),
    "restart": (restart, {}),
}
