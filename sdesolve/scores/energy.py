r"""The score of an energy, s = -grad_x E, where p_t is proportional to exp(-E)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.score import ScoreObject

__all__ = ["EnergyScore", "from_energy"]


@dataclass(eq=False)
class EnergyScore(ScoreObject):
    """The score of an energy, which gives the energy as well; made by :func:`from_energy`."""

    energy: Callable[..., Tensor]

    def with_energy(self, x: Tensor, t: Tensor, **cond: Tensor) -> tuple[Tensor, Tensor]:
        """Energies ``(batch,)`` and score like ``x``, in one evaluation."""
        create = torch.is_grad_enabled()
        with torch.enable_grad():
            y = x if x.requires_grad else x.detach().requires_grad_()
            energy = self.energy(y, t, **cond)
            if energy.shape != x.shape[:1]:
                raise ValueError(
                    f"an energy is one number per sample, ({len(x)},), got {tuple(energy.shape)}; "
                    "sum over the event"
                )
            (gradient,) = torch.autograd.grad(energy.sum(), y, create_graph=create)
        return (energy if create else energy.detach()), -gradient

    def __call__(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """The score alone."""
        return self.with_energy(x, t, **cond)[1]


def from_energy(energy: Callable[..., Tensor]) -> EnergyScore:
    """Score of an energy, s = -grad_x E, where p_t is proportional to exp(-E).

    Metropolis kernels (:class:`sdesolve.MALA`, :class:`sdesolve.HMC`) find the energy in it.

    Args:
        energy: Callable ``(x, t, **cond) -> (batch,)``, differentiable in x, each entry a function
            of its own sample alone. Autograd is switched on inside.

    Raises:
        ValueError: When called, if the energy has another shape.
    """
    return EnergyScore(energy)
