"""scipy's solvers under torchdiffeq's name for them, ``scipy_solver``: without gradients."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .state import Call

__all__ = ["OPTIONS", "by_scipy"]

OPTIONS = {"solver", "min_step", "max_step", "norm"}


def by_scipy(
    call: Call,
    start: Tensor,
    times: list[float],
    rtol: float | Tensor,
    atol: float | Tensor,
    options: dict[str, Any],
) -> Tensor:
    """States at the times, ``(n, size)``, by ``scipy.integrate.solve_ivp``.

    Args:
        call: The user's function.
        start: Initial state, ``(1, size)``.
        times: Wanted times.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        options: solver ("LSODA" if left out, "RK45", "DOP853", "Radau", "BDF", ...), min_step (of
            LSODA), max_step.

    Raises:
        ImportError: If scipy is absent.
        RuntimeError: If scipy does not reach the last time.
    """
    try:
        solve_ivp = import_module("scipy.integrate").solve_ivp
    except ImportError as error:
        raise ImportError('method="scipy_solver" needs scipy: pip install scipy') from error
    name = options.get("solver", "LSODA")
    more = {key: options[key] for key in ("min_step", "max_step") if key in options}
    if name != "LSODA":
        more.pop("min_step", None)

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(y).to(start)[None]
        with torch.no_grad():
            value: np.ndarray = call(x, x.new_tensor(t))[0].detach().to("cpu").double().numpy()
        return value

    found = solve_ivp(
        slope,
        (times[0], times[-1]),
        start[0].detach().to("cpu").double().numpy(),
        t_eval=times,
        method=name,
        rtol=_plain(rtol),
        atol=_plain(atol),
        **more,
    )
    if found.y.shape[1] != len(times):
        raise RuntimeError(
            f"scipy's {name} has not reached t = {times[-1]:g}: {found.message} Loosen rtol and "
            "atol, or write solver='Radau' for a stiff equation"
        )
    return torch.from_numpy(found.y.T.copy()).to(start)


def _plain(tolerance: float | Tensor) -> Any:  # noqa: ANN401
    """A tolerance as scipy takes it."""
    if isinstance(tolerance, Tensor):
        return tolerance.detach().reshape(-1).to("cpu").double().numpy()
    return tolerance
