"""Solvers by name, for command lines and benchmarks; a published sampler is a preset."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

from ..correctors import Langevin
from ..grids import Karras, Uniform
from ..references.base import Isotropic
from .adaptive import Adaptive
from .adaptive_exponential import AdaptiveExponential
from .adaptive_ode import AdaptiveODE
from .adaptive_sde import AdaptiveSDE, GottaGoFast
from .additive import SRA1, SRA2, SRA3, ShARK
from .ancestral import Ancestral, ReverseDiffusion
from .base import Solver
from .dpmpp import DPMSolverMultistep
from .edm import EDMHeun
from .er_sde import ERSDE
from .euler import EulerMaruyama
from .exponential import ExponentialAdams
from .exponential_rk import ExponentialRungeKutta
from .ipndm import IPNDM
from .ito import SRIW1
from .milstein import Milstein
from .predictor_corrector import PredictorCorrector
from .restart import Restart
from .runge_kutta import RK4, EulerHeun, EulerODE, Heun, Midpoint
from .unipc import UniPC
from .weak import DRI1

__all__ = ["paper", "solver", "solver_names"]

_DATA, _NOISE = Isotropic(0.0), Isotropic(math.inf)


def ddim() -> ExponentialAdams:
    """Song, Meng & Ermon 2021, Denoising diffusion implicit models, equation 12 with eta = 0."""
    return ExponentialAdams(1, None, 0.0, _DATA)


def ddpm() -> ExponentialAdams:
    """Ho et al. 2020, Denoising diffusion probabilistic models, equations 6 and 7."""
    return ExponentialAdams(1, None, 1.0, _DATA)


def dpm_solver_1() -> ExponentialAdams:
    """Lu et al. 2022, DPM-Solver, equation 3.7: DDIM."""
    return ExponentialAdams(1, None, 0.0, _NOISE)


def dpm_solver_2() -> ExponentialRungeKutta:
    """Lu et al. 2022, DPM-Solver, algorithm 1."""
    return ExponentialRungeKutta(2, _NOISE, 0.0)


def dpm_solver_3() -> ExponentialRungeKutta:
    """Lu et al. 2022, DPM-Solver, algorithm 2."""
    return ExponentialRungeKutta(3, _NOISE, 0.0)


def dpmpp_2s() -> ExponentialRungeKutta:
    """Lu et al. 2022, DPM-Solver++, algorithm 1, with r = 1/2."""
    return ExponentialRungeKutta(2, _DATA, 0.0)


def dpmpp_2m() -> DPMSolverMultistep:
    """Lu et al. 2022, DPM-Solver++, algorithm 2."""
    return DPMSolverMultistep(2, 0.0)


def dpmpp_3m() -> ExponentialAdams:
    """Code of Lu et al. 2022, DPM-Solver++ (3M), with its missing factor of two."""
    return ExponentialAdams(3, None, 0.0, _DATA)


def dpmpp_3m_published() -> DPMSolverMultistep:
    """Code of Lu et al. 2022, DPM-Solver++ (3M), as it stands there and in diffusers."""
    return DPMSolverMultistep(3, 0.0)


def dpmpp_2m_sde() -> DPMSolverMultistep:
    """Lu et al. 2022, DPM-Solver++, SDE-DPM-Solver++(2M)."""
    return DPMSolverMultistep(2, 1.0)


def dpmpp_3m_sde() -> ExponentialAdams:
    """Code of k-diffusion (3M SDE), with its missing factor of two."""
    return ExponentialAdams(3, None, 1.0, _DATA)


def deis() -> ExponentialAdams:
    """Zhang & Chen 2023, DEIS, with a polynomial in log(sigma / alpha), as in diffusers."""
    return ExponentialAdams(3, None, 0.0, _NOISE)


def deis_rho() -> ExponentialAdams:
    """Zhang & Chen 2023, DEIS, rhoAB2: a polynomial in sigma / alpha."""
    return ExponentialAdams(3, None, 0.0, _NOISE, clock=Karras(1.0))


def deis_t() -> ExponentialAdams:
    """Zhang & Chen 2023, DEIS, tAB2: a polynomial in t."""
    return ExponentialAdams(3, None, 0.0, _NOISE, clock=Uniform())


def ipndm() -> IPNDM:
    """Zhang & Chen 2023, DEIS, section 3 (iPNDM)."""
    return IPNDM(4)


def lms() -> ExponentialAdams:
    """Code of k-diffusion (LMS); rhoAB3 of Zhang & Chen 2023."""
    return ExponentialAdams(4, None, 0.0, _NOISE, clock=Karras(1.0))


def unipc_2() -> UniPC:
    """Zhao et al. 2023, UniPC, with B(h) = exp(h) - 1."""
    return UniPC(2, "bh2")


def unipc_2_bh1() -> UniPC:
    """Zhao et al. 2023, UniPC, with B(h) = h."""
    return UniPC(2, "bh1")


def unipc_3() -> UniPC:
    """Zhao et al. 2023, UniPC, with B(h) = exp(h) - 1."""
    return UniPC(3, "bh2")


def unipc_3_bh1() -> UniPC:
    """Zhao et al. 2023, UniPC, with B(h) = h."""
    return UniPC(3, "bh1")


def sa_solver() -> ExponentialAdams:
    """Xue et al. 2023, SA-Solver, algorithm 1: 3-step predictor, 4-node corrector, tau = 1."""
    return ExponentialAdams(3, 4, 1.0, _DATA, final_order=1)


def er_sde_2() -> ERSDE:
    """Cui et al. 2023, ER-SDE-Solver-2."""
    return ERSDE(2)


def er_sde_3() -> ERSDE:
    """Cui et al. 2023, ER-SDE-Solver-3."""
    return ERSDE(3)


def edm_heun() -> EDMHeun:
    """Karras et al. 2022, algorithm 1."""
    return EDMHeun()


def edm_heun_churn() -> EDMHeun:
    """Karras et al. 2022, algorithm 2 and table 5, the settings for ImageNet 64."""
    return EDMHeun(40.0, (0.05, 50.0), 1.003)


def seeds_2() -> ExponentialRungeKutta:
    """Gonzalez et al. 2023, SEEDS-2, with data prediction."""
    return ExponentialRungeKutta(2, _DATA, 1.0)


def restart() -> Restart:
    """Xu et al. 2023, Restart sampling, algorithm 1, an interval for CIFAR-10."""
    return Restart()


_PRESETS: tuple[Callable[[], Solver], ...] = (
    ddim,
    ddpm,
    dpm_solver_1,
    dpm_solver_2,
    dpm_solver_3,
    dpmpp_2s,
    dpmpp_2m,
    dpmpp_3m,
    dpmpp_3m_published,
    dpmpp_2m_sde,
    dpmpp_3m_sde,
    deis,
    deis_rho,
    deis_t,
    ipndm,
    lms,
    unipc_2,
    unipc_2_bh1,
    unipc_3,
    unipc_3_bh1,
    sa_solver,
    er_sde_2,
    er_sde_3,
    edm_heun,
    edm_heun_churn,
    seeds_2,
    restart,
)

_SOLVERS: dict[str, Callable[[], Solver | Adaptive]] = {
    "euler-maruyama": EulerMaruyama,
    "reverse-diffusion": ReverseDiffusion,
    "ancestral": Ancestral,
    "ancestral-upper": lambda: Ancestral(variance="upper"),
    "predictor-corrector": lambda: PredictorCorrector(ReverseDiffusion(), Langevin()),
    "euler-ode": EulerODE,
    "heun": Heun,
    "midpoint": Midpoint,
    "rk4": RK4,
    "euler-heun": EulerHeun,
    "milstein": Milstein,
    "milstein-derivative-free": lambda: Milstein(derivative_free=True),
    "milstein-stratonovich": lambda: Milstein("stratonovich"),
    "milstein-stratonovich-derivative-free": lambda: Milstein("stratonovich", True),
    "sra1": SRA1,
    "sra2": SRA2,
    "sra3": SRA3,
    "shark": ShARK,
    "sriw1": SRIW1,
    "dri1": DRI1,
    "adaptive-dopri5": AdaptiveODE,
    "adaptive-tsit5": lambda: AdaptiveODE("tsit5"),
    "adaptive-exponential": AdaptiveExponential,
    "adaptive-sde": AdaptiveSDE,
    "adaptive-gotta-go-fast": GottaGoFast,
    **{preset.__name__.replace("_", "-"): preset for preset in _PRESETS},
}


def solver_names() -> list[str]:
    """Names that :func:`solver` knows."""
    return list(_SOLVERS)


def solver(name: str) -> Solver | Adaptive:
    """Make the solver called ``name``.

    Raises:
        ValueError: If there is none; the nearest names are listed.

    Examples:
        >>> solver("heun")
        Heun()
        >>> solver("unipc-3")
        UniPC(order=3, b='bh2', final_order=1)
    """
    if not isinstance(name, str):
        raise TypeError(f'a name is a string such as "heun", got {name!r}')
    if name not in _SOLVERS:
        near = difflib.get_close_matches(name, _SOLVERS, n=3, cutoff=0.4) or solver_names()
        raise ValueError(f"unknown solver {name!r}; did you mean {', '.join(near)}?")
    return _SOLVERS[name]()


def paper(name: str) -> str | None:
    """Where the preset called ``name`` was published; None for other solvers."""
    preset = _SOLVERS[name]
    return preset.__doc__ if preset in _PRESETS else None
