r"""Where samples begin: given noise, noised data, or the law of x_t.

The law of x_t = alpha x_0 + sigma z has mean alpha mu and covariance alpha^2 C + sigma^2 I. A
reference of the data knows mu and C, and the Gaussian with these moments is where a run begins.
Without one the start at T is the process's published prior, and the start at an earlier time is
N(0, (alpha/2)^2 + sigma^2), as for data of standard deviation 1/2, the guess of the default grids;
where more than a tenth of the noise, alpha/sigma, is not known to be right, a warning says so.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import Number, check_device, check_tensor
from .equations.process import Process
from .equations.score import Score
from .loop.options import Options
from .references import MeasuredReference, Reference
from .references.frames import combine

__all__ = ["A_STRENGTH", "Start", "noised_law"]

_SCALE, _MATTERS = 0.5, 0.1
A_STRENGTH = Number(above=0, most=1, hint="1 is all of the way")
"""Rule for strengths."""


def noised_law(reference: Reference, process: Process, t: float, z: Tensor) -> Tensor | None:
    """Gaussian values with the moments that a reference gives to x_t, made of normal ones.

    Args:
        reference: Of the data.
        process: Noising process.
        t: Time.
        z: Standard normal values, ``(batch, *event)``.

    Returns:
        Like ``z``; None if the reference has no variance, such as ``Isotropic(math.inf)``.
    """
    if isinstance(reference, MeasuredReference):  # its gains are those of a network, not of a law
        reference = reference.base
    data = (reference.weights * reference.variances).sum(1)
    if not reference.explains or not bool(torch.isfinite(data).all()):
        return None
    alpha, sigma = process.alpha(t), process.sigma(t)
    frame = reference.frame(z)
    scale = frame.multiplier((alpha**2 * data + sigma**2).sqrt())
    x = frame.join(combine([frame.split(z)], [scale]))
    if reference.mean is None:
        return x
    return x + (alpha * reference.mean).to(z.dtype).to(z.device)


@dataclass(frozen=True)
class Start:
    """Where the samples of a run begin; made by :meth:`of`."""

    process: Process
    reference: Reference | None
    event: tuple[int, ...]
    t: float
    x: Tensor | None
    data: Tensor | None
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(
        cls,
        process: Process,
        score: Score,
        shape: tuple[int, ...],
        t: float,
        x: Tensor | None,
        data: Tensor | None,
        strength: float | None,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> Start:
        """Check what was given.

        Raises:
            ValueError: If the arguments contradict one another or a shape is wrong.
            TypeError: If one has the wrong type.
        """
        _check(shape, x, data, strength, dtype)
        device = check_device("device", device)
        given = x if x is not None else data
        if given is not None:
            given = given.to(device=device, dtype=dtype)
            kind, place = given.dtype, given.device
        else:
            kind = dtype or torch.get_default_dtype()
            place = torch.get_default_device() if device is None else device
        reference = getattr(score, "reference", None)
        if given is None and reference is None and t < process.T:
            _warn(process, t)
        return cls(
            process,
            reference,
            shape[1:],
            t,
            given if x is not None else None,
            given if data is not None else None,
            kind,
            place,
        )

    def rows(self, rows: slice, options: Options) -> Tensor:
        """Initial states of some samples."""
        if self.x is not None:
            return self.x[
                rows
            ].clone()  # a score that changes it in place must not reach the user's
        prior = self.process.prior(self.event, self.t)
        noise = prior.sample(
            rows.stop - rows.start,
            seed=options.seed,
            first=options.first + rows.start,
            dtype=self.dtype,
            device=self.device,
            source=options.noise,
        )
        if self.data is not None:
            return self.process.perturb(self.data[rows], self.t, noise / prior.std)
        known = None
        if self.reference is not None:
            known = noised_law(self.reference, self.process, self.t, noise / prior.std)
        if known is None and self.t < self.process.T:
            alpha, sigma = self.process.alpha(self.t), self.process.sigma(self.t)
            return noise * (math.hypot(alpha * _SCALE, sigma) / prior.std)
        return noise if known is None else known


def _check(
    shape: tuple[int, ...],
    x: Tensor | None,
    data: Tensor | None,
    strength: float | None,
    dtype: torch.dtype | None,
) -> None:
    if x is not None and data is not None:
        raise ValueError("x is the noise to start from, start the data: give one of them")
    if (data is None) != (strength is None):
        raise ValueError("start and strength go together: write start=image, strength=0.6")
    for name, value in (("x", x), ("start", data)):
        if value is None:
            continue
        check_tensor(name, value, floating=False)
        if tuple(value.shape) != shape:
            raise ValueError(
                f"{name} must have the shape that was asked for, {shape}, got {tuple(value.shape)}"
            )


def _warn(process: Process, t: float) -> None:
    ratio = process.alpha(t) / process.sigma(t)
    if ratio > _MATTERS:
        warnings.warn(
            f"the run begins at t = {t:.4g}, where the data are {ratio:.2g} times the noise, and "
            "their variance is not known: standard deviation 1/2 is assumed. Give x=, or the "
            "score a reference of its data: score.reference = GaussianReference.from_data(data)",
            UserWarning,
            stacklevel=5,
        )
