r"""References whose gain is measured on the score itself.

What an exponential integrator needs is not the covariance of the data but the gain
a_i(s) = e_i^T (dD/dy) e_i of the denoiser along each direction at each noise level. By the
second-order Tweedie identity it is the posterior variance in units of the noise,

.. math:: a_i(s) = E[(e_i^T (x_0 - D))^2] / s^2,

(Robbins' and Efron's formula), so it is measured by denoising noised data: one call for each noise
level, no derivatives. On a mixture the covariance promises too much at small noise, where the
posterior has long picked one component; the measured gain knows.

A table of measurements would make the residual rough, and its interpolation worse than without it.
The gain is therefore fitted by a combination of closed forms,
a_i(s) = sum_k p_ik c_k / (c_k + s^2), sum_k p_ik = 1, with fixed variances c_k: smooth, and
integrated in closed form (``references.py``). The p_ik may be negative: a gain need not be
monotone. Two narrow components at distance 2 have gain .5 at s = .8, .001 at s = .3, and 1 again
below their own width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import Count, Optional, check_array, check_tensor
from ..equations.process import Process, ReverseSDE
from ..equations.score import Score, check_like
from ..grids import Grid
from ..noise.streams import Streams
from .base import A_REFERENCE, Isotropic, Reference
from .frames import Frame
from .principal import GaussianReference
from .spectral import SpectralReference

__all__ = ["MeasuredReference"]

_LEVELS, _ATOMS, _RIDGE = 24, 24, 1e-3


class MeasuredReference(Reference):
    """The directions of another reference with gains measured on a score.

    Args:
        base: Reference whose mean and directions are used.
        variances: c_k, ``(atoms,)``.
        weights: p_ik, ``(bands, atoms)``.

    Raises:
        ValueError: If the shapes do not agree.

    References:
        Efron 2011, Tweedie's formula and selection bias; Zheng et al. 2023 (DPM-Solver-v3) measure
        a gain per pixel by Jacobian-vector products.
    """

    def __init__(self, base: Reference, variances: Tensor, weights: Tensor) -> None:
        A_REFERENCE("base", base)
        variances = check_array("variances", variances).detach()
        weights = check_array("weights", weights).detach()
        if not bool((variances >= 0).all()) or variances.ndim != 1:
            raise ValueError("variances are 0 or more, (atoms,)")
        if weights.shape != (len(base.variances), len(variances)):
            raise ValueError(
                f"weights must have shape {(len(base.variances), len(variances))}, got "
                f"{tuple(weights.shape)}"
            )
        self.base, self.mean = base, base.mean
        self.variances = variances.expand(weights.shape).clone()
        total = weights.sum(1, keepdim=True)
        # Of weights that were read back not a bit changes.
        self.weights = torch.where((total - 1).abs() < 1e-12, weights, weights / total)

    @classmethod
    @torch.no_grad()
    def from_score(
        cls,
        process: Process,
        score: Score,
        x: Tensor,
        base: GaussianReference | SpectralReference | Isotropic | None = None,
        *,
        seed: int = 0,
    ) -> MeasuredReference:
        """Measure the gain at 24 noise levels, one batched call each.

        Args:
            process: Noising process of the score.
            score: Callable ``(x, t) -> like x``.
            x: Data (or samples of the score), ``(n, *event)``; 128 suffice.
            base: Directions; by default the principal ones of ``x``.
            seed: Seed of the noise.

        Raises:
            ValueError: As ``GaussianReference.from_data``.
        """
        ReverseSDE(process, score)  # refuses what is not a process or not a score
        check_tensor("x", x, finite=True)
        Optional(A_REFERENCE)("base", base)
        seed = Count(most=2**64 - 1)("seed", seed)
        base = base if base is not None else GaussianReference.from_data(x)
        first, last = process.log_snr(process.T), process.log_snr(process.eps)
        levels = torch.linspace(first, last, _LEVELS, dtype=torch.float64, device="cpu")
        noise = Streams(
            seed, 0, len(x), x.shape[1:], dtype=x.dtype, device=x.device, purpose="gains"
        )
        gains = torch.stack(
            [_gain(process, score, x, base, lam, noise.normal()) for lam in levels.tolist()]
        )
        s2 = torch.exp(-2 * levels)
        atoms = torch.logspace(
            torch.log10(s2.min()).item(),
            torch.log10(s2.max()).item(),
            _ATOMS,
            dtype=torch.float64,
            device="cpu",
        )
        return cls(base, atoms, _fit(atoms / (atoms + s2[:, None]), gains.T))

    @property
    def scale(self) -> float:
        """The base's."""
        return self.base.scale

    @property
    def grid(self) -> Grid:
        """The base's."""
        return self.base.grid

    def frame(self, x: Tensor) -> Frame:
        """The base's."""
        return self.base.frame(x)

    def energy(self, x: Tensor) -> Tensor:
        """The base's."""
        return self.base.energy(x)

    def __repr__(self) -> str:
        return f"MeasuredReference({self.base!r})"


def _gain(
    process: Process, score: Score, x: Tensor, base: Reference, log_snr: float, noise: Tensor
) -> Tensor:
    """a_i at one noise level, ``(bands,)``."""
    t = process.time(log_snr)
    alpha, sigma = process.alpha(t), process.sigma(t)
    y = process.perturb(x, t, noise)
    value = score(y, y.new_full((len(y),), t))
    check_like(value, y)
    denoised = (y + sigma**2 * value) / alpha
    return base.energy(x - denoised) * (alpha / sigma) ** 2


def _fit(design: Tensor, gains: Tensor) -> Tensor:
    """Ridge regression with coefficients that sum to one, for every band; ``(bands, atoms)``.

    Args:
        design: Gain of every atom at every level, ``(levels, atoms)``.
        gains: Measured gains, ``(bands, levels)``.
    """
    atoms = design.shape[1]
    system = torch.ones(atoms + 1, atoms + 1, dtype=torch.float64, device="cpu")
    system[:atoms, :atoms] = design.T @ design + _RIDGE * torch.eye(
        atoms, dtype=torch.float64, device="cpu"
    )
    system[atoms, atoms] = 0
    ones = torch.ones(len(gains), 1, dtype=torch.float64, device="cpu")
    right = torch.cat([gains.clamp(0, 1) @ design, ones], dim=1)
    solution: Tensor = torch.linalg.solve(system, right.T)
    return solution[:atoms].T
