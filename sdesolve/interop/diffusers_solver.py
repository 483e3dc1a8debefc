"""The solver, and its switches, that take the steps of a diffusers scheduler.

On short grids diffusers lowers the order of the last steps (``lower_order_final``, below 15 steps),
which is ``final_order=1`` here. Where its last noise level is zero (``final_sigmas_type``) the last
step is of first order with us, too, whatever the switch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..references import Isotropic
from ..solvers import DPMSolverMultistep, EDMHeun, ExponentialAdams, Solver, UniPC

__all__ = ["solver"]

_SHORT = 15  # steps, below which diffusers lowers the order at the end


def solver(scheduler: Any, steps: int) -> Solver:  # noqa: ANN401
    """The solver whose steps are those of a scheduler, on the grid that ``grid`` gives.

    Args:
        scheduler: A scheduler without noise of its own.
        steps: Its number of inference steps, on which the order of its last steps depends.

    Raises:
        ValueError: If the scheduler, or one of its switches, has no counterpart.

    Examples:
        solver = ss.interop.diffusers.solver(scheduler, 10)
        grid = ss.interop.diffusers.grid(scheduler, 10, process)
        ss.sample(process, score, shape, x=noise, solver=solver, grid=grid)
    """
    name, config = type(scheduler).__name__, scheduler.config
    made = _MADE.get(name)
    if made is None:
        raise ValueError(
            f"{name} has no counterpart to the last digit; those that have: {', '.join(_MADE)}"
        )
    final = 1 if config.get("lower_order_final") and steps < _SHORT else None
    return made(name, config, final)


def _refuse(name: str, config: Any, **wanted: Any) -> None:  # noqa: ANN401
    for key, value in wanted.items():
        if key in config and config[key] not in (value, str(value)):
            raise ValueError(
                f"{name} with {key}={config[key]!r} has no counterpart; with {value!r} it has"
            )


def _ddim(name: str, config: Any, final: int | None) -> Solver:  # noqa: ANN401
    _refuse(name, config, clip_sample=False, thresholding=False)
    return ExponentialAdams(1, None, 0.0, Isotropic(0.0))


def _heun(name: str, config: Any, final: int | None) -> Solver:  # noqa: ANN401
    return EDMHeun()


def _dpm(name: str, config: Any, final: int | None) -> Solver:  # noqa: ANN401
    _refuse(
        name,
        config,
        algorithm_type="dpmsolver++",
        solver_type="midpoint",
        thresholding=False,
        euler_at_final=False,
    )
    order = int(config.solver_order)
    return _ddim(name, {}, None) if order == 1 else DPMSolverMultistep(order, 0.0, final)


def _deis(name: str, config: Any, final: int | None) -> Solver:  # noqa: ANN401
    _refuse(name, config, solver_type="logrho", thresholding=False)
    noise = Isotropic(math.inf)
    return ExponentialAdams(int(config.solver_order), None, 0.0, noise, final_order=final)


def _unipc(name: str, config: Any, final: int | None) -> Solver:  # noqa: ANN401
    if config.get("final_sigmas_type") == "zero":
        # Its last step would be NaN.
        _refuse(name, config, lower_order_final=True, solver_type="bh2")
    _refuse(name, config, predict_x0=True, thresholding=False, disable_corrector=[])
    final = 1 if config.lower_order_final else None  # on grids of every length
    return UniPC(int(config.solver_order), config.solver_type, final)


_MADE: dict[str, Callable[[str, Any, int | None], Solver]] = {
    "DDIMScheduler": _ddim,
    "EulerDiscreteScheduler": _ddim,
    "FlowMatchEulerDiscreteScheduler": _ddim,
    "EDMEulerScheduler": _ddim,
    "HeunDiscreteScheduler": _heun,
    "DPMSolverMultistepScheduler": _dpm,
    "EDMDPMSolverMultistepScheduler": _dpm,
    "DEISMultistepScheduler": _deis,
    "UniPCMultistepScheduler": _unipc,
}
