r"""Inpainting with a corrector: known values are set to their own noised law after every move.

With a mask m, 1 where the values y are known, each noise level draws one y_t = alpha y + sigma z,
and every move is followed by x <- (1 - m) x + m y_t; so is the last step of a predictor. The
unknown values are then drawn given the known ones as far as the moves at each level equilibrate.

References:
    Song & Ermon 2019, appendix B.3 and algorithm 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..checks import Count, Kind, check_fields, check_tensor
from ..equations.problem import Problem
from ..noise.streams import NoiseSource
from .base import Correction, Corrector

__all__ = ["Inpainting"]


class _Table(NamedTuple):
    alpha: list[float]
    sigma: list[float]
    moves: Any


@dataclass(frozen=True, eq=False)
class Inpainting(Corrector):
    """A corrector that holds known values at their noised law.

    With ``ss.Annealed(ss.Inpainting(ss.Langevin(), y, mask, steps=100))`` it is NCSN's algorithm.

    Cost: ``steps`` times the corrector's.

    Args:
        corrector: What moves the samples; its own ``steps`` are moves between two replacements.
        known: Values y, ``(*event)``, or a row for each sample of the run, ``(batch, *event)``, of
            which chunks take theirs; those where the mask is zero are ignored.
        mask: True or 1 where y is known; as ``known``. Axes may have length one in both.
        steps: Corrections, each followed by a replacement, at one noise level.

    Raises:
        ValueError: If steps < 1, or, before the first call, the shapes do not fit the run's.

    References:
        Song & Ermon 2019, algorithm 2.
    """

    corrector: Corrector
    known: Tensor
    mask: Tensor
    steps: int = 1

    def __post_init__(self) -> None:
        check_fields(
            self,
            corrector=Kind(Corrector, "Langevin()"),
            known=check_tensor,
            mask=_check_mask,
            steps=Count(least=1),
        )
        try:
            held = torch.where(self.mask.detach().cpu().bool(), self.known.detach().cpu(), 0)
        except RuntimeError:  # they do not fit each other: the run says which one does not fit it
            return
        check_tensor("known, where mask is 1,", held, finite=True)

    @property
    def evaluations(self) -> int:
        """``steps`` times the corrector's."""
        return self.steps * self.corrector.evaluations

    @property
    def moves(self) -> int:
        """``steps`` times the corrector's."""
        return self.steps * self.corrector.moves

    def plan(self, problem: Problem, grid: Tensor) -> _Table:
        """The corrector's plan, and the scales of the noised values."""
        process = problem.reverse("Inpainting").process
        return _Table(
            process.alpha(grid).tolist(),
            process.sigma(grid).tolist(),
            self.corrector.plan(problem, grid),
        )

    def correct(
        self,
        problem: Problem,
        plan: _Table,
        i: int,
        x: Tensor,
        state: Any,  # noqa: ANN401
        noise: NoiseSource,
    ) -> Correction:
        """``steps`` corrections at grid point ``i``, each followed by a replacement."""
        values, mask = self._values(plan, i, x, noise)
        for _ in range(self.steps):
            x, state, info = self.corrector.correct(problem, plan.moves, i, x, state, noise)
            x = values.where(mask, x)
        return Correction(x, state, info)

    def close(
        self, problem: Problem, plan: _Table, i: int, x: Tensor, noise: NoiseSource
    ) -> Tensor:
        """The last replacement: a predictor's last step has moved what is known."""
        values, mask = self._values(plan, i, x, noise)
        return values.where(mask, x)

    def _values(self, plan: _Table, i: int, x: Tensor, noise: NoiseSource) -> tuple[Tensor, Tensor]:
        """Known values, noised as at grid point ``i``, and where they are."""
        known, mask = self.known.to(x.dtype).to(x.device), self.mask.to(x.device).bool()
        return (plan.alpha[i] * known).add(noise.normal(), alpha=plan.sigma[i]), mask

    def rows(self, shape: Sequence[int], low: int, high: int) -> Inpainting:
        """With the values and masks of some samples."""
        return replace(
            self,
            corrector=self.corrector.rows(shape, low, high),
            known=_rows("known", self.known, shape, low, high),
            mask=_rows("mask", self.mask, shape, low, high),
        )

    def freeze(self, state: Any) -> Any:  # noqa: ANN401
        """The corrector's."""
        return self.corrector.freeze(state)


def _check_mask(name: str, value: object) -> Tensor:
    mask = check_tensor(name, value, floating=False)
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(f"{name} is 1 (True) where a value is known and 0 elsewhere")
    return mask


def _rows(name: str, value: Tensor, shape: Sequence[int], low: int, high: int) -> Tensor:
    """Rows of the samples, or the one row of all; checked against the whole run."""
    sizes = zip(reversed(value.shape), reversed(shape), strict=False)
    if value.ndim > len(shape) or any(n not in (1, wanted) for n, wanted in sizes):
        raise ValueError(
            f"{name} must be one event {tuple(shape[1:])} for all samples, or one row for each "
            f"sample of the run, {tuple(shape)}; got {tuple(value.shape)}"
        )
    return value[low:high] if value.ndim == len(shape) and len(value) > 1 else value
