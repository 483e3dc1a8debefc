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
    2022, equation 6, whose w is one less.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..equations.score import Score
from .transforms import keep_reference

__all__ = ["classifier_free_guidance", "classifier_guidance"]


def classifier_guidance(
    score: Score, log_prob: Callable[..., Tensor], weight: float = 1.0
) -> Score:
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

    def guided(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            value = log_prob(y, t, **cond)
            if value.shape != x.shape[:1]:
                raise ValueError(
                    f"log_prob is one number per sample, ({len(x)},), got {tuple(value.shape)}"
                )
            (gradient,) = torch.autograd.grad(value.sum(), y)
        return score(x, t) + weight * gradient

    return keep_reference(score, guided)


def classifier_free_guidance(score: Score, weight: float = 1.0) -> Score:
    """Score that follows its own reading of a condition with a weight.

    Args:
        score: Callable ``(x, t, **cond) -> like x``: with ``cond`` the score of a conditional law,
            without it of all data, such as a network trained with dropout of its labels.
        weight: w: 0 is the unconditional score, 1 the conditional one, larger values prefer typical
            members of the class to variety.

    Returns:
        Callable ``(x, t, **cond)`` that calls the score twice. The NFE of a solution counts calls
        of the guided score.

    Raises:
        ValueError: When called without a condition.

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

    def guided(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        if not cond:
            raise ValueError('guidance needs a condition; write cond={"label": y}')
        free = score(x, t)
        return torch.lerp(free, score(x, t, **cond), weight)

    return keep_reference(score, guided)
