"""Scores of posteriors: a conditional score is a score, so every solver and corrector takes it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..checks import FUNCTION, Kind, Number, check_tensor, show
from ..equations.process import Process
from ..equations.score import Score
from ..references.base import Reference
from ..references.measured import MeasuredReference
from ..shapes import expand_like
from .conditioning import conditioned
from .methods import METHODS, Asked, Method
from .observation import LinearObservation, Observation, check_states

__all__ = ["PosteriorScore", "as_observed", "check_noise", "posterior"]

_DENSE = 1024


def posterior(
    process: Process,
    score: Score,
    A: Observation,
    y: Tensor | None = None,
    noise: float = 0.1,
    method: str | Method = "moments",
    **options: Any,  # noqa: ANN401
) -> PosteriorScore:
    """Score of the data given an observation y = A(x_0) + noise z, by one of several methods.

    None of them is exact but for Gaussian data ("moments", and "reference" with the data's own
    reference); :func:`sdesolve.inverse.particles` is, in the limit of many particles.

    Args:
        process: Noising process of the score.
        score: Score of the data, ``(x, t, **cond) -> like x``.
        A: What is observed.
        y: One observation for all samples, ``(*observed)`` or ``(1, *observed)``. An observation
            for each sample goes with the samples: leave y out, and write
            ``ss.sample(..., cond={"y": y})``.
        noise: Standard deviation of the observation's noise, in the units of y.
        method: "moments", "reference", "diffpir", "pigdm", "dps", "ddrm" or "replace", or a method
            object.
        options: Of the method: see the classes in ``sdesolve.inverse.methods``.

    Returns:
        A score ``(x, t, y=None, **cond)``. ``backward_passes`` is the number of backward passes
        through the score in each of its calls; NFE does not count them.

    Raises:
        ValueError: If the method is not known, or the noise is zero and the method divides by it;
            when called, if an observation is missing or has another shape.
        TypeError: If A is no observation, or not one that the method can use; or for an option that
            the method does not have.

    Examples:
        >>> import torch, sdesolve as ss
        >>> process = ss.VPSDE()
        >>> score = ss.Gaussian(torch.zeros(2), 1.0).score(process)
        >>> A = ss.inverse.Matrix(torch.tensor([[1.0, 0.0]]))
        >>> given = ss.inverse.posterior(process, score, A, torch.tensor([2.0]), noise=1.0)
        >>> sol = ss.sample(process, given, (500, 2), nfe=20, seed=0)
        >>> [round(v) for v in sol.x.mean(0).abs().tolist()]
        [1, 0]
    """
    Kind(Process, "ss.VPSDE()")("process", process)
    FUNCTION("score", score)
    if not isinstance(A, Observation):
        raise TypeError(
            f"A is an observation such as ss.inverse.Mask(mask), got {type(A).__name__}; write "
            "ss.inverse.Linear(function, event_shape)"
        )
    if isinstance(method, str):
        if method not in METHODS:
            raise ValueError(f"methods are {', '.join(sorted(METHODS))}; got {method!r}")
        kind = METHODS[method]
        try:
            method = kind(**options)
        except TypeError as error:
            known = [name for name in getattr(kind, "__dataclass_fields__", {}) if name[0] != "_"]
            raise TypeError(
                f"method {method!r} has the options {', '.join(known) or 'none'}; got "
                f"{', '.join(options)}"
            ) from error
    elif not isinstance(method, Method):
        raise TypeError(
            f"methods are {', '.join(sorted(METHODS))}, or an object of ss.inverse.methods; got "
            f"{show(method)}"
        )
    elif options:
        raise TypeError(f"a method object has its options already, got {', '.join(options)} beside")
    name = type(method).__name__
    if not method.nonlinear and not isinstance(A, LinearObservation):
        names = ", ".join(repr(k) for k, v in METHODS.items() if v.nonlinear)
        raise TypeError(f"{name} takes linear observations, {A!r} is none; write method={names}")
    noise = check_noise(noise, zero=method.noiseless, user=name)
    if y is not None:
        check_tensor("y", y, finite=True)
    return PosteriorScore(process, score, A, y, noise, method.check(A, score))


class PosteriorScore:
    """Made by :func:`posterior`."""

    def __init__(
        self,
        process: Process,
        score: Score,
        A: Observation,
        y: Tensor | None,
        noise: float,
        method: Method,
    ) -> None:
        self.process, self.score, self.A, self.y = process, score, A, y
        self.noise, self.method = noise, method
        prior: Reference | None = getattr(score, "reference", None)
        if isinstance(prior, MeasuredReference):
            prior = prior.base  # a law, which a gain is not
        # What solvers are told about the law: it is narrower than the data's.
        if prior is not None and isinstance(A, LinearObservation) and noise > 0:
            mean = prior.mean
            if mean is not None and mean.numel() <= _DENSE:
                one = None if y is None else as_observed(A(mean[None]), y, given=False)
                self.reference = conditioned(prior, A, one, noise, mean.shape)

    @property
    def backward_passes(self) -> int:
        """Backward passes through the prior's score in each call."""
        return self.method.backward_passes

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None, **cond: Tensor) -> Tensor:
        """Score at x, ``(batch, *event)``, and t, ``(batch,)``.

        At t = 0, where the shift of the mean and sigma^2 are both zero, it is that of process.eps:
        the limit, up to terms of sigma(eps)^2 over the smallest variance of the data.
        """
        given = y is not None
        y = self.y if y is None else y
        if y is None:
            raise ValueError('there is no observation; write cond={"y": y}, a row for each sample')
        check_states("x", x, axes=1)
        if check_tensor("t", t, event=()).shape != x.shape[:1]:
            raise ValueError(f"t is a time for each of {len(x)} samples, got {tuple(t.shape)}")
        y = as_observed(self.A(x), check_tensor("y", y), given)
        t = torch.where(t == 0, self.process.eps, t)
        asked = Asked(self.process, self.score, self.A, self.noise, x, t, y, cond)
        score, shift = self.method(asked)
        sigma = expand_like(self.process.sigma(t), x)
        return score + expand_like(self.process.alpha(t), x) / sigma**2 * shift

    def __repr__(self) -> str:
        return f"PosteriorScore({self.A!r}, noise={self.noise:g}, {self.method!r})"


def as_observed(seen: Tensor, y: Tensor, given: bool) -> Tensor:
    """An observation in the dtype of what A sees, ``(1 or batch, *observed)``.

    Args:
        seen: A(x), ``(batch, *observed)``.
        y: The observation.
        given: Whether it came with the samples, a row for each.
    """
    shape = tuple(seen.shape[1:])
    if tuple(y.shape) == shape and not given:
        y = y[None]
    rows = len(seen) if given else 1
    if tuple(y.shape[1:]) != shape or len(y) != rows:
        wanted = f"a row for each sample, {(rows, *shape)}" if given else f"one observation {shape}"
        raise ValueError(
            f"A sees {shape} of an event: y is {wanted}, got {tuple(y.shape)}"
            + ('; an observation for each sample goes by cond={"y": y}' if not given else "")
        )
    return y.to(seen.dtype).to(seen.device)


def check_noise(noise: float, *, zero: bool, user: str) -> float:
    """Raise for a noise level that is negative, not finite, or zero where it divides."""
    noise = Number(least=0, most=1e15, hint="it is a standard deviation")("noise", noise)
    if noise == 0 and not zero:
        raise ValueError(
            f"{user} divides by the noise of the observation, got 0; write noise=1e-3, or "
            'method="replace" or "ddrm"'
        )
    return noise
