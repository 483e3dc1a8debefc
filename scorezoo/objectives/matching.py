r"""Explicit, implicit and sliced score matching, at any noise level of a process.

With the score s* of p, explicit score matching is half the Fisher divergence,

.. math:: J = \tfrac12 E_p \|s - s^*\|^2 .

The cross term is free of s* after an integration by parts, -E s.s* = E tr(grad s), so that

.. math::

    \text{implicit:}\quad & J - c = E_p \big[\mathrm{tr}(\nabla s) + \tfrac12 \|s\|^2\big] \\
    \text{sliced:}\quad & J - c = E_p E_v \big[v^T (\nabla s)\, v + \tfrac12 (v^T s)^2\big] \\
    \text{variance-reduced:}\quad & J - c = E_p E_v \big[v^T (\nabla s)\, v + \tfrac12 \|s\|^2\big]

with E v v^T = I: Rademacher or Gaussian v. The constant c = E |s*|^2 / 2 is the same for all. The
exact trace takes one backward pass per value of an event, a slice one. All of them need s to be
differentiated twice where a network is trained, and p to have a score: data on a manifold have
none, which noising mends (see ``benchmarks/pitfalls.py``).

As objectives they are taken at x_t of a process, doubled and weighted by sigma^2, and then share
their scale with denoising score matching; times are uniform.

References:
    Hyvarinen 2005, theorem 1 (implicit); Vincent 2011 (explicit, to a kernel density); Song et al.
    2019, Sliced score matching, equations 7 and 8; Song & Ermon 2019, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sdesolve import Process
from sdesolve.noise.streams import rademacher
from sdesolve.scores import Score

from ..kernels import twice_differentiable
from .base import Objective
from .times import uniform_times

__all__ = [
    "ExplicitObjective",
    "ImplicitObjective",
    "SlicedObjective",
    "explicit_score_matching",
    "implicit_score_matching",
    "sliced_score_matching",
]


def _sum(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32)).flatten(1).sum(1)


def explicit_score_matching(
    score: Score, target: Score, x: Tensor, t: Tensor, **cond: Tensor
) -> Tensor:
    """Half the squared distance to a known score.

    Args:
        score: The score to train.
        target: What it shall be: a closed form, or the :class:`sdesolve.EmpiricalScore` of data,
            with a bandwidth for ``std`` that of their kernel density estimate.
        x: Samples of p_t, ``(batch, *event)``.
        t: Times, ``(batch,)``.
        cond: Passed on to the score.

    Returns:
        ``(batch,)``, in inverse units of x squared.
    """
    return 0.5 * _sum((score(x, t, **cond) - target(x, t)) ** 2)


def _differentiable(x: Tensor) -> Tensor:
    return x if x.requires_grad else x.detach().requires_grad_()


def _product(s: Tensor, x: Tensor, v: Tensor) -> Tensor:
    """v^T grad s of each sample, like ``x``; differentiable where gradients are recorded."""
    (product,) = torch.autograd.grad(s, x, v, create_graph=True, allow_unused=True)
    return torch.zeros_like(x) if product is None else product


def implicit_score_matching(score: Score, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
    """Hyvarinen's objective with the exact trace.

    Cost: one backward pass for each value of an event.

    Args:
        score: The score to train.
        x: Samples of p_t, ``(batch, *event)``.
        t: Times, ``(batch,)``.
        cond: Passed on to the score.

    Returns:
        ``(batch,)``, in inverse units of x squared.
    """
    with torch.enable_grad(), twice_differentiable():
        x = _differentiable(x)
        s = score(x, t, **cond)
        trace = s.new_zeros(len(x))
        for i in range(s[0].numel()):
            v = torch.zeros_like(s).flatten(1)
            v[:, i] = 1
            trace = trace + _product(s, x, v.reshape(s.shape)).flatten(1)[:, i]
        return trace + 0.5 * _sum(s**2)


def sliced_score_matching(
    score: Score, x: Tensor, t: Tensor, v: Tensor, variance_reduced: bool = True, **cond: Tensor
) -> Tensor:
    """Sliced score matching with one slice for each sample.

    Args:
        score: The score to train.
        x: Samples of p_t, ``(batch, *event)``.
        t: Times, ``(batch,)``.
        v: Slices, like ``x``, independent of it and with the identity for covariance.
        variance_reduced: Take |s|^2, the expectation over v, instead of (v.s)^2.
        cond: Passed on to the score.

    Returns:
        ``(batch,)``, in inverse units of x squared.
    """
    with torch.enable_grad(), twice_differentiable():
        x = _differentiable(x)
        s = score(x, t, **cond)
        curvature = _sum(_product(s, x, v) * v)
        return curvature + 0.5 * (_sum(s**2) if variance_reduced else _sum(v * s) ** 2)


class _AtAllLevels(Objective):
    """Uniform times; a published objective at x_t, doubled and weighted by sigma^2."""

    eps: float

    def times(self, uniform: Tensor, process: Process) -> Tensor:
        """Times of a whole batch from uniform numbers in [0, 1), ``(batch,)``."""
        return uniform_times(uniform, process, self.eps)


@dataclass(frozen=True)
class ExplicitObjective(_AtAllLevels):
    """Explicit score matching to a known score.

    Args:
        target: Callable ``(process) -> score``: ``mixture.score`` of a closed form, or
            ``lambda process: ss.EmpiricalScore(data, process, bandwidth)``, the score of a kernel
            density estimate.
        eps: Smallest time that is trained.
    """

    target: Callable[[Process], Score]
    eps: float = 1e-5

    def loss(
        self, score: Score, process: Process, x0: Tensor, t: Tensor, noise: Tensor, **cond: Tensor
    ) -> Tensor:
        """Loss of each sample, ``(batch,)``."""
        x = process.perturb(x0, t, noise)
        value = explicit_score_matching(score, self.target(process), x, t, **cond)
        return 2 * process.sigma(t) ** 2 * value


@dataclass(frozen=True)
class ImplicitObjective(_AtAllLevels):
    """Implicit score matching with the exact trace: data of few values.

    Args:
        eps: Smallest time that is trained.
    """

    eps: float = 1e-5

    def loss(
        self, score: Score, process: Process, x0: Tensor, t: Tensor, noise: Tensor, **cond: Tensor
    ) -> Tensor:
        """Loss of each sample, ``(batch,)``; less than that of denoising by a constant."""
        x = process.perturb(x0, t, noise)
        return 2 * process.sigma(t) ** 2 * implicit_score_matching(score, x, t, **cond)


@dataclass(frozen=True)
class SlicedObjective(_AtAllLevels):
    """Sliced score matching.

    Args:
        slices: Law of the slices; Rademacher's has the smallest variance.
        variance_reduced: Take |s|^2 instead of (v.s)^2.
        eps: Smallest time that is trained.

    Raises:
        ValueError: If the word is not known.
    """

    slices: Literal["rademacher", "gaussian"] = "rademacher"
    variance_reduced: bool = True
    eps: float = 1e-5
    draws: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.slices not in ("rademacher", "gaussian"):
            raise ValueError(f'slices must be "rademacher" or "gaussian", got {self.slices!r}')

    def loss(
        self, score: Score, process: Process, x0: Tensor, t: Tensor, noise: Tensor, **cond: Tensor
    ) -> Tensor:
        """Loss of each sample, ``(batch,)``; ``noise`` is ``(batch, 2, *event)``."""
        x = process.perturb(x0, t, noise[:, 0])
        v = noise[:, 1] if self.slices == "gaussian" else rademacher(noise[:, 1])
        value = sliced_score_matching(score, x, t, v, self.variance_reduced, **cond)
        return 2 * process.sigma(t) ** 2 * value
