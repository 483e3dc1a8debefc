r"""Scores of conditional laws.

By Bayes' rule the score of p_t(x | y) is that of p_t(x) plus the gradient of log p_t(y | x): a
classifier that has learned to read noised data turns any score into a conditional one. With weight
w the law is :math:`p_t(x)\,p_t(y \mid x)^w`, up to a factor; w > 1 prefers typical members of y.
By the same rule a score that knows both laws needs no classifier:

.. math:: \nabla \log p_t(y \mid x) = \nabla \log p_t(x \mid y) - \nabla \log p_t(x).

For w other than 0 and 1 these scores are of no diffusion: the law at t is not the noised law at 0.
What a score brings of its data (``score.reference``) is passed on; solvers tuned to it are not.

References:
    Song et al. 2021, section 5 and appendix I; Dhariwal & Nichol 2021, section 4; Ho & Salimans
    2022, equation 6, whose w is one less; Kynkaanniemi et al. 2024 (interval); Lin et al. 2023,
    section 3.4 (rescaling).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checks import FLAG, NUMBER, Number, Optional, Pair, check_fields, check_tensor, show
from ..equations.condition import Condition
from ..equations.score import A_SCORE, Score, ScoreObject, check_kind, output_like, pass_on
from ..shapes import expand_like
from .energy import gradient_of
from .nested import concatenate, expand, same_shapes

__all__ = ["ClassifierGuided", "Guided", "classifier_free_guidance", "classifier_guidance"]

Weight = float | str | Tensor | Callable[[Tensor], Tensor]


@dataclass(eq=False)
class ClassifierGuided(ScoreObject):
    """A score with a classifier; made by :func:`classifier_guidance`."""

    score: Score
    log_prob: Callable[..., Tensor]
    weight: float

    def __post_init__(self) -> None:
        check_fields(self, score=A_SCORE, log_prob=A_SCORE, weight=NUMBER)

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """Score at ``x`` and ``t``."""
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            value = self.log_prob(y, t, **cond)
            gradient = gradient_of(value, y, "log_prob")
        return output_like(x, self.score(x, t)) + self.weight * gradient


def classifier_guidance(
    score: Score, log_prob: Callable[..., Tensor], weight: float = 1.0
) -> ClassifierGuided:
    """Score of the law of x given what a classifier reads in it.

    Args:
        score: Score of the noised data, ``(x, t) -> like x``.
        log_prob: Callable ``(x, t, **cond) -> (batch,)``, log p_t(y | x), differentiable in x, each
            entry a function of its own sample alone; ``cond`` says what y is.
        weight: w.

    Returns:
        Callable ``(x, t, **cond)``: one call of the score and a gradient of the classifier. All of
        ``cond`` goes to the classifier, none to the score.

    Raises:
        ValueError: When called, if ``log_prob`` has another shape.

    Examples:
        >>> import sdesolve as ss
        >>> process, right = ss.EDM(), ss.Gaussian([1.0], 0.04)
        >>> mix = ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.04)
        >>> def log_prob(x, t):  # of the second mode, up to a constant
        ...     return right.log_prob(x, process, t) - mix.log_prob(x, process, t)
        >>> guided = classifier_guidance(mix.score(process), log_prob)
        >>> x, t = torch.zeros(1, 1), torch.ones(1)
        >>> torch.allclose(guided(x, t), right.score(process)(x, t), atol=1e-5)
        True
    """
    return pass_on(score, ClassifierGuided(score, log_prob, weight))


@dataclass(eq=False)
class Guided(ScoreObject):
    """A score that follows its own condition; made by :func:`classifier_free_guidance`."""

    score: Score
    weight: Weight
    null: Condition | None
    interval: tuple[float, float] | None
    rescale: float
    batched: bool | None

    def __post_init__(self) -> None:
        check_fields(
            self,
            score=A_SCORE,
            weight=_check_weight,
            interval=Optional(Pair(Number(infinite=True))),
            rescale=NUMBER,
            batched=Optional(FLAG),
        )

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:  # noqa: ANN401
        """Score at ``x`` and ``t``."""
        weight = self.weight
        if isinstance(weight, str):
            if weight not in cond:
                raise ValueError(
                    f'the weight is an entry of cond: write cond={{"{weight}": w, ...}}'
                )
            weight = cond.pop(weight)
        if not cond:
            raise ValueError('guidance needs a condition; write cond={"label": y}')
        free, held = self._both(x, t, cond)
        w = _weight(weight, x, t)
        if self.interval is not None:
            inside = (t >= self.interval[0]) & (t <= self.interval[1])
            w = torch.where(expand_like(inside, x), w, torch.ones_like(w))
        for half in (free, held):
            check_kind(half, x, "the score")
        guided = torch.lerp(free, held, w.to(x.dtype))
        if self.rescale:
            size = _spread(held) / _spread(guided)
            guided = guided * (1 + self.rescale * (size - 1))
        return guided

    def _both(self, x: Tensor, t: Tensor, cond: dict[str, Any]) -> tuple[Tensor, Tensor]:
        if self.null is None:
            free = self.score(x, t)
            return output_like(x, free), output_like(x, self.score(x, t, **cond))
        null = expand({**cond, **self.null}, len(x))
        one = same_shapes(null, cond) if self.batched is None else self.batched
        if not one:
            free = self.score(x, t, **null)
            return output_like(x, free), output_like(x, self.score(x, t, **cond))
        y = torch.cat([x, x])
        both = output_like(y, self.score(y, torch.cat([t, t]), **concatenate(null, cond)))
        free, held = both.chunk(2)
        return free, held


def classifier_free_guidance(
    score: Score,
    weight: Weight = 1.0,
    *,
    null: Mapping[str, Any] | None = None,
    interval: tuple[float, float] | None = None,
    rescale: float = 0.0,
    batched: bool | None = None,
) -> Guided:
    """Score that follows its own reading of a condition with a weight.

    Args:
        score: Callable ``(x, t, **cond) -> like x``: with ``cond`` the score of a conditional law,
            without it (or with ``null``) of all data, such as a network trained with dropout of its
            labels.
        weight: w: 0 is the unconditional score, 1 the conditional one, larger values prefer typical
            members of the class to variety. A number; a tensor ``(batch,)``; a function of the
            times ``(batch,)`` that returns either; or the name of an entry of ``cond`` of shape
            ``(batch,)``, which is cut into chunks with the samples.
        null: The empty or negative condition of the free half: entries that replace those of
            ``cond``, each for the whole batch or with a first axis of 1. Without it the score is
            called without condition.
        interval: Times (low, high) within which the weight applies; outside it is 1.
        rescale: From 0 (none) to 1: how much of the guided score's larger spread over an event is
            taken back to that of the conditional one; 0.7 as published.
        batched: Ask for both halves in one concatenated call; by default where ``null`` is given
            and the shapes agree. False saves memory.

    Returns:
        Callable ``(x, t, **cond)``: two evaluations of the score, which are counted as one call of
        the guided score in the NFE of a solution.

    Raises:
        ValueError: If the numbers are out of range, or ``batched`` is asked for without ``null``;
            when called without a condition, or with weights of another shape.

    Examples:
        >>> import sdesolve as ss
        >>> process, mix = ss.EDM(), ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.04)
        >>> right = ss.Gaussian([1.0], 0.04).score(process)
        >>> def score(x, t, label=None):  # knows one label
        ...     return mix.score(process)(x, t) if label is None else right(x, t)
        >>> guided = classifier_free_guidance(score, 1.0)
        >>> x, t, label = torch.zeros(1, 1), torch.ones(1), torch.zeros(1)
        >>> torch.allclose(guided(x, t, label=label), right(x, t))
        True
    """
    rescale = NUMBER("rescale", rescale)
    if not 0 <= rescale <= 1:
        raise ValueError(f"rescale lies in 0 to 1, 0.7 as published, got {rescale}")
    interval = Optional(Pair(Number(infinite=True)))("interval", interval)
    if interval is not None and not interval[0] < interval[1]:
        raise ValueError(f"interval is (low, high) in t, got {interval}")
    Optional(FLAG)("batched", batched)
    if batched and null is None:
        raise ValueError(
            'one call needs a condition for the free half; write null={"label": empty}'
        )
    if null is not None and not isinstance(null, Mapping):
        raise TypeError(f'null is a dict of tensors such as {{"label": empty}}, got {show(null)}')
    kept = None if null is None else dict(null)
    return pass_on(score, Guided(score, weight, kept, interval, rescale, batched))


def _check_weight(name: str, value: object) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor):
        return check_tensor(name, value, finite=True)
    if isinstance(value, str) or (callable(value) and not isinstance(value, type)):
        return value
    return NUMBER(name, value)


def _weight(weight: float | Tensor | Callable[[Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
    """Weights shaped to broadcast against x, on its device."""
    if callable(weight) and not isinstance(weight, Tensor):
        weight = weight(t)
    if not isinstance(weight, Tensor):
        return x.new_full((1,) * x.ndim, NUMBER("weight(t)", weight))
    first = weight.shape[:1] in ((), (1,), x.shape[:1])
    if not first or any(n != 1 for n in weight.shape[1:]):
        raise ValueError(
            f"weights have shape ({len(x)},), one for each sample, got {tuple(weight.shape)}; with "
            'batch_size write weight="w" and cond={"w": weights, ...}'
        )
    return weight.to(x.dtype).to(x.device).reshape(-1, *[1] * (x.ndim - 1))


def _spread(value: Tensor) -> Tensor:
    """Standard deviation over each event, shaped to broadcast."""
    std = value.flatten(1).std(1)
    return expand_like(std, value)
