"""k-diffusion, ComfyUI and the WebUIs: their denoisers, D(x, sigma), and samplers for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..equations.outputs import NetworkScore
from ..equations.processes import EDM
from ..loop.checks import as_solver
from ..loop.integrate import solve
from ..sampling import stochasticity_of
from ..scores.adapters import from_denoiser
from ..solvers import Solver
from .common import noise_levels

__all__ = ["load", "sampler"]

Report = Callable[[dict[str, Any]], object]


def load(
    denoiser: Callable[..., Tensor],
    *,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> tuple[EDM, NetworkScore]:
    """Process and score of a denoiser.

    Args:
        denoiser: Callable ``(x, sigma, **cond) -> like x``, sigma ``(batch,)``. Its ``extra_args``
            are our ``cond``.
        sigma_min: Smallest noise level; by default the denoiser's own.
        sigma_max: Largest noise level; by default the denoiser's own.

    Raises:
        ValueError: If the denoiser tells no noise levels and none are given.
    """
    process = noise_levels(denoiser, sigma_min, sigma_max)
    return process, from_denoiser(denoiser, process)


@dataclass
class _Watched:
    """A denoiser that tells what it found first in each step."""

    model: Callable[..., Tensor]
    sigmas: Tensor
    extra: dict[str, Any]
    tell: Report | None
    step: int = 0
    fresh: bool = True

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        denoised = self.model(x, sigma, **self.extra)
        if self.fresh and self.tell is not None:
            level = self.sigmas[self.step]
            told = {"x": x, "i": self.step, "sigma": level, "sigma_hat": level}
            self.tell({**told, "denoised": denoised})
        self.fresh = False
        return denoised

    def go_on(self, step: int, t: float, x: Tensor) -> None:
        """After a step."""
        self.step, self.fresh = step, True


def sampler(solver: Solver | str) -> Callable[..., Tensor]:
    """A solver as a sampler function of k-diffusion.

    Args:
        solver: A fixed-grid solver, or its name.

    Returns:
        A function ``(model, x, sigmas, extra_args=None, callback=None, disable=None)`` that returns
        the sample. ``sigmas`` is the grid; ``callback`` is told ``x``, ``i``, ``sigma``,
        ``sigma_hat`` and ``denoised`` once a step. Noise is that of the seed in ``extra_args``, or
        of 0. A solver that cannot end at sigma = 0 ends with D at the smallest level above it.

    Raises:
        TypeError: If the solver has no fixed grid.

    Examples:
        >>> import torch, sdesolve as ss
        >>> model = lambda x, sigma: x / (1 + 4 * sigma**2)[:, None]  # of N(0, 1/4)
        >>> sigmas = torch.tensor([10.0, 3.0, 1.0, 0.3, 0.0])
        >>> x = 10 * torch.ones(1, 1)
        >>> bool(sampler("dpmpp-2m")(model, x, sigmas).abs() < 1)
        True
    """
    made = as_solver(solver)
    if not isinstance(made, Solver):
        raise TypeError(
            f"sigmas are a fixed grid, and {type(made).__name__} chooses its own; take a solver "
            "such as dpmpp-2m"
        )
    chosen: Solver = made

    def sample(
        model: Callable[..., Tensor],
        x: Tensor,
        sigmas: Tensor,
        extra_args: dict[str, Any] | None = None,
        callback: Report | None = None,
        disable: bool | None = None,
    ) -> Tensor:
        levels = sigmas.detach().to("cpu", torch.float64)
        positive = levels[levels > 0]
        if levels.ndim != 1 or len(levels) < 2 or not len(positive):
            raise ValueError(f"sigmas are two noise levels or more, got {tuple(sigmas.shape)}")
        extra = dict(extra_args or {})
        watched = _Watched(model, sigmas, extra, callback)
        process = EDM(0.5 * positive.min().item(), positive.max().item())
        score = from_denoiser(watched, process)
        grid = levels if chosen.reaches_zero else positive
        y = x if x.dtype == torch.float64 else x.float()
        if len(grid) > 1:
            y = solve(
                process.reverse(score, stochasticity_of(chosen, None)),
                y,
                (grid[0].item(), grid[-1].item()),
                solver=chosen,
                grid=grid,
                seed=int(extra.get("seed") or 0) % 2**64,
                callback=watched.go_on,
                progress=sys.stderr.isatty() if disable is None else not disable,
            ).x
        if len(grid) < len(levels):
            y = watched(y, y.new_full((len(y),), grid[-1].item()))
        return y.to(x.dtype)

    return sample
