r"""The score of an energy, s = -grad_x E, where p_t is proportional to exp(-E)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_fields, show
from ..equations.score import A_SCORE, ScoreObject

__all__ = ["EnergyScore", "from_energy", "gradient_of"]


@dataclass(eq=False)
class EnergyScore(ScoreObject):
    """The score of an energy, which gives the energy as well; made by :func:`from_energy`."""

    energy: Callable[..., Tensor]

    def __post_init__(self) -> None:
        check_fields(self, energy=A_SCORE)

    def with_energy(self, x: Tensor, t: Tensor, **cond: Tensor) -> tuple[Tensor, Tensor]:
        """Energies ``(batch,)`` and score like ``x``, in one evaluation."""
        create = torch.is_grad_enabled()
        with torch.enable_grad():
            y = x if x.requires_grad else x.detach().requires_grad_()
            energy = self.energy(y, t, **cond)
            gradient = gradient_of(energy, y, "an energy", create)
        return (energy if create else energy.detach()), -gradient

    def __call__(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """The score alone."""
        return self.with_energy(x, t, **cond)[1]


def gradient_of(value: object, x: Tensor, what: str, create_graph: bool = False) -> Tensor:
    """Gradient with respect to x of numbers ``(batch,)``, each of its own sample.

    Raises:
        TypeError: If it is no tensor, or does not depend on x for autograd.
        ValueError: If it is not one number per sample.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} is a tensor ({len(x)},), got {show(value)}")
    if value.shape != x.shape[:1]:
        raise ValueError(
            f"{what} is one number per sample, ({len(x)},), got {tuple(value.shape)}; sum over "
            "the event"
        )
    if not value.requires_grad or value.is_complex():
        raise TypeError(
            f"{what} does not depend on x for autograd; compute it from x in torch, without "
            "no_grad or detach inside"
        )
    if value.device != x.device:
        raise ValueError(f"{what} is on {value.device}, x on {x.device}")
    (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=create_graph)
    return gradient


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
