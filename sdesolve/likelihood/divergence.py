r"""Divergence of a vector field, from the same forward pass as its value.

The divergence of F is the trace of its Jacobian J. With a random v of unit covariance,

.. math:: \nabla \cdot F = \operatorname{tr} J = E[v^T J v],

and v^T J comes from one reverse pass (vjp), J v from one forward tangent (jvp). An estimator
returns one estimate for each probe, so that their spread tells the error of their mean.

================  ==============================  ===============================================
estimator         products with J an evaluation   variance of the mean of k probes, J symmetric
================  ==============================  ===============================================
Exact             d                               0
Hutchinson        k                               2 (sum of squares off the diagonal) / k
 - gaussian       k                               2 (sum of all squares) / k
HutchPlusPlus     k                               that of Hutchinson without the k/3 leading
                                                  directions, over k/3
================  ==============================  ===============================================

Probes belong to samples: probe j of sample i depends on (seed, i, j) alone.

References:
    Hutchinson 1990; Grathwohl et al. 2019 (FFJORD); Song et al. 2021, section 4.3; Meyer et al.
    2021 (Hutch++), algorithm 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..checks import FLAG, Choice, Count, check_fields
from ..noise.streams import rademacher

__all__ = ["Divergence", "Exact", "HutchPlusPlus", "Hutchinson", "check_divergence"]

Field = Callable[[Tensor], Tensor]
Mode = Literal["reverse", "forward"]
Distribution = Literal["rademacher", "gaussian", "sphere"]

# Room that one product takes in units of the state: a U-Net holds some dozens of feature maps.
_ROOM = 64
_MOST_PROBES = 10**6
UNFIT = (
    "the score cannot be differentiated with respect to x: {}; compute it from x in torch, without "
    "no_grad, inference_mode or detach inside"
)


class Divergence(ABC):
    """An estimator: value and divergence estimates of a field from one forward pass."""

    directions: int = 0
    """Random vectors it wants for each sample."""
    redraw: bool = False
    """Whether it wants new ones at every evaluation."""

    @property
    def estimates(self) -> int:
        """Estimates of the divergence that it returns for each sample."""
        return 1

    def shape(self, z: Tensor) -> Tensor:
        """Probes from standard normal values, both ``(batch, directions, *event)``."""
        return z

    @abstractmethod
    def __call__(self, field: Field, x: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate.

        Args:
            field: Maps states to values like them, each sample by itself; called once.
            x: States, ``(batch, *event)``.
            probes: From :meth:`shape`, ``(batch, directions, *event)``.

        Returns:
            Values like x, and estimates ``(batch, estimates)``; neither has an autograd graph.

        Raises:
            TypeError: If the field cannot be differentiated.
        """


@dataclass(frozen=True)
class Exact(Divergence):
    """The exact divergence, from one product for each value of an event.

    Args:
        mode: "reverse" (vjp) or "forward" (jvp). Forward keeps no graph, but takes all directions
            at once: it is for few values and cheap fields.
        memory: Bytes that the reverse products may take at a time. Directions are taken in chunks
            of as many as fit, if a field needs 64 times the room of its state for one.

    Raises:
        ValueError: If the mode is not known or memory is not positive.

    Examples:
        >>> x = torch.tensor([[1.0, 2.0]])
        >>> Exact()(lambda x: x**2, x, torch.empty(1, 0, 2))
        (tensor([[1., 4.]]), tensor([[6.]]))
    """

    mode: Mode = "reverse"
    memory: int = 2**28

    def __post_init__(self) -> None:
        check_fields(self, mode=Choice(*get_args(Mode)), memory=Count(least=1, most=2**63))

    def __call__(self, field: Field, x: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """Value, and divergence ``(batch, 1)``."""
        size = x[0].numel()
        basis = torch.eye(size, dtype=x.dtype, device=x.device)
        basis = basis.reshape(size, 1, *x.shape[1:]).expand(-1, *x.shape)
        if self.mode == "forward":
            value, products = _jvp(field, x, basis)
            return value, _diagonal(products, 0)[:, None]
        value, pull = _linearise(field, x)
        chunk = max(1, self.memory // (_ROOM * x.numel() * x.element_size()))
        starts = range(0, size, chunk)
        total = sum(_diagonal(pull(basis[low : low + chunk]), low) for low in starts)
        return value, torch.as_tensor(total)[:, None]


@dataclass(frozen=True)
class Hutchinson(Divergence):
    """Mean of v^T J v over random directions v.

    Args:
        probes: Directions k for each sample; two or more give a standard error.
        distribution: "rademacher" (signs: the least variance, and none at all where J is diagonal),
            "gaussian", or "sphere" (uniform, of length sqrt(d)).
        mode: "reverse" (vjp) or "forward" (jvp).
        redraw: Draw new directions at every evaluation. Unbiased at each time, and less noisy over
            a path; but the integrand is no longer smooth, so that an adaptive solver must judge its
            steps by the states alone.

    Raises:
        ValueError: If there is no probe or a word is not known.
    """

    probes: int = 2
    distribution: Distribution = "rademacher"
    mode: Mode = "reverse"
    redraw: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            probes=Count(most=_MOST_PROBES),
            distribution=Choice(*get_args(Distribution)),
            mode=Choice(*get_args(Mode)),
            redraw=FLAG,
        )
        if self.probes < 1:
            raise ValueError(
                f"Hutchinson needs 1 probe or more, got {self.probes}; write "
                "Hutchinson(probes=2) for an error bar"
            )

    @property
    def directions(self) -> int:  # type: ignore[override]
        """As many as probes."""
        return self.probes

    @property
    def estimates(self) -> int:
        """As many as probes."""
        return self.probes

    def shape(self, z: Tensor) -> Tensor:
        """Directions of the distribution."""
        if self.distribution == "rademacher":
            return rademacher(z)
        if self.distribution == "sphere":
            flat = z.flatten(2)
            length = flat.square().mean(2, keepdim=True).sqrt()
            return (flat / length).reshape(z.shape)
        return z

    def __call__(self, field: Field, x: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """Value, and one estimate for each probe."""
        v = probes.transpose(0, 1)
        if self.mode == "forward":
            value, products = _jvp(field, x, v)
        else:
            value, pull = _linearise(field, x)
            products = pull(v)
        return value, (v * products).flatten(2).sum(2).T


@dataclass(frozen=True)
class HutchPlusPlus(Divergence):
    """Exact on the directions where J is large, Hutchinson on the rest.

    A third of the products sketch the range of J, a third take its trace there exactly, a third
    estimate what is left. It wins where few directions hold most of J, and loses to Hutchinson
    where all are alike.

    Args:
        probes: Products with J for each sample, a multiple of 3; six or more give a standard error.

    Raises:
        ValueError: If probes is not a positive multiple of 3.

    References:
        Meyer, Musco, Musco & Woodruff 2021, algorithm 1.
    """

    probes: int = 6

    def __post_init__(self) -> None:
        check_fields(self, probes=Count(most=_MOST_PROBES))
        if self.probes < 3 or self.probes % 3:
            raise ValueError(
                f"HutchPlusPlus splits its products in three, got probes={self.probes}; write "
                "probes=6"
            )

    @property
    def directions(self) -> int:  # type: ignore[override]
        """Two thirds of the products start from random directions."""
        return 2 * self.probes // 3

    @property
    def estimates(self) -> int:
        """One for each direction that estimates the rest."""
        return self.probes // 3

    def shape(self, z: Tensor) -> Tensor:
        """Normal sketches, which are never collinear as few signs can be, and signs."""
        m = self.estimates
        return torch.cat([z[:, :m], rademacher(z[:, m:])], dim=1)

    def __call__(self, field: Field, x: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """Value, and one estimate for each direction of the rest."""
        m = self.estimates
        if m > x[0].numel():
            raise ValueError(
                f"probes={self.probes} sketch {m} directions of a space that has "
                f"{x[0].numel()}; use Exact()"
            )
        value, pull = _linearise(field, x)
        v = probes.transpose(0, 1)
        sketch = pull(v[:m]).flatten(2)  # (m, batch, d)
        basis = torch.linalg.qr(sketch.permute(1, 2, 0)).Q.permute(2, 0, 1)
        rest = v[m:].flatten(2)
        inside = torch.einsum("mbd,nbd->mnb", basis, rest)
        rest = rest - torch.einsum("mbd,mnb->nbd", basis, inside)
        both = torch.cat([basis, rest])
        forms = (both * pull(both.reshape(-1, *x.shape)).flatten(2)).sum(2)
        return value, (forms[:m].sum(0) + forms[m:]).T


def _diagonal(products: Tensor, low: int) -> Tensor:
    """Sum over k of entry ``low + k`` of the event of product k, ``(batch,)``."""
    block = products.flatten(2)[:, :, low : low + len(products)]
    return torch.diagonal(block, dim1=0, dim2=2).sum(1)


def _linearise(field: Field, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Value, and the map v -> J^T v for stacks ``(k, batch, *event)``."""
    with torch.enable_grad():
        y = x.detach().requires_grad_()
        value = field(y)
    if not value.requires_grad:
        raise TypeError(UNFIT.format("its result does not depend on x for autograd"))

    def pull(v: Tensor) -> Tensor:
        # Without vmap where there is nothing to batch: it wants a rule for every operation.
        if len(v) == 1:
            (product,) = torch.autograd.grad(value, y, v[0], retain_graph=True)
            return product[None]
        (product,) = torch.autograd.grad(value, y, v, retain_graph=True, is_grads_batched=True)
        return product

    return value.detach(), pull


def _jvp(field: Field, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Value, and J v for a stack ``(k, batch, *event)``."""

    def push(tangent: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.func.jvp(field, (x,), (tangent,)))

    try:
        if len(v) == 1:
            value, product = push(v[0])
            return value, product[None]
        value, product = torch.func.vmap(push, out_dims=(None, 0))(v)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise TypeError(UNFIT.format(error) + '; or write mode="reverse"') from error
    return value, product


def check_divergence(divergence: object) -> None:
    """Raise a TypeError unless it is an estimator of a divergence."""
    if not isinstance(divergence, Divergence):
        raise TypeError(
            f"divergence is Exact(), Hutchinson(probes) or HutchPlusPlus(probes), got "
            f"{divergence!r}"
        )
