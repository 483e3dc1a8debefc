r"""Objects written for torchsde: base classes, renamed methods, the KL along the path, equations.

An object has ``noise_type``, ``sde_type`` and, at (t, y) with t of shape ``()`` and y
``(batch, d)``, some of f, g, f_and_g, g_prod, f_and_g_prod; for the KL also h, the prior's drift:

.. math::

    \mathrm{KL}(q \| p) = E_q \int \tfrac12 |u|^2 dt, \qquad g u = f - h,

whose integrand becomes one more value of the state (Girsanov).

References:
    Li et al. 2020, Scalable gradients for stochastic differential equations, section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..equations.sde import SDE, Noise
from .settings import NOISE_TYPES, SDE_TYPES

__all__ = ["BaseSDE", "SDEIto", "SDEStratonovich", "Terms", "with_kl"]

Function = Callable[..., Any]
_SMALLEST = 1e-7  # of the diffusion that the KL divides by


class BaseSDE(nn.Module):
    """An SDE with a noise type and a calculus, which are checked.

    Args:
        noise_type: "diagonal", "scalar", "additive" or "general".
        sde_type: "ito" or "stratonovich".

    Raises:
        ValueError: If a word is not known.
    """

    def __init__(self, noise_type: str, sde_type: str) -> None:
        super().__init__()
        if noise_type not in NOISE_TYPES:
            raise ValueError(f"noise_type is one of {NOISE_TYPES}; got {noise_type!r}")
        if sde_type not in SDE_TYPES:
            raise ValueError(f"sde_type is one of {SDE_TYPES}; got {sde_type!r}")
        self.noise_type = noise_type
        self.sde_type = sde_type


class SDEIto(BaseSDE):
    """An Ito equation.

    Args:
        noise_type: See :class:`BaseSDE`.
    """

    def __init__(self, noise_type: str) -> None:
        super().__init__(noise_type=noise_type, sde_type="ito")


class SDEStratonovich(BaseSDE):
    """A Stratonovich equation.

    Args:
        noise_type: See :class:`BaseSDE`.
    """

    def __init__(self, noise_type: str) -> None:
        super().__init__(noise_type=noise_type, sde_type="stratonovich")


_NAMES = {
    "drift": "f",
    "diffusion": "g",
    "prior_drift": "h",
    "diffusion_prod": "g_prod",
    "drift_and_diffusion": "f_and_g",
    "drift_and_diffusion_prod": "f_and_g_prod",
}


class Terms:
    """Drift and diffusion of an object, from whichever of its methods there are.

    Args:
        sde: The object.
        names: Names of its methods, where they are others: "drift", "diffusion", "prior_drift", ...

    Raises:
        ValueError: If a word is not known.
    """

    def __init__(self, sde: Any, names: dict[str, str] | None = None) -> None:  # noqa: ANN401
        for word, words in (("noise_type", NOISE_TYPES), ("sde_type", SDE_TYPES)):
            if not hasattr(sde, word):
                raise ValueError(f"{type(sde).__name__} has no {word}; it is one of {words}")
            if getattr(sde, word) not in words:
                raise ValueError(f"{word} is one of {words}; got {getattr(sde, word)!r}")
        self.noise_type: str = sde.noise_type
        self.sde_type: str = sde.sde_type
        self.name = type(sde).__name__
        given = names or {}
        self.methods: dict[str, Function] = {}
        for role, usual in _NAMES.items():
            method = getattr(sde, given.get(role, usual), None)
            if callable(method):
                self.methods[usual] = method
        if not {"f", "f_and_g", "f_and_g_prod"} & set(self.methods):
            raise ValueError(f"{self.name} has no drift: define f(t, y) or f_and_g(t, y)")
        if not {"g", "g_prod", "f_and_g", "f_and_g_prod"} & set(self.methods):
            raise ValueError(f"{self.name} has no diffusion: define g(t, y) or f_and_g(t, y)")

    def f(self, t: Tensor, y: Tensor, channels: int) -> Tensor:
        """The drift."""
        if "f" in self.methods:
            return self.methods["f"](t, y)  # type: ignore[no-any-return]
        if "f_and_g" in self.methods:
            return self.methods["f_and_g"](t, y)[0]  # type: ignore[no-any-return]
        return self.methods["f_and_g_prod"](t, y, y.new_zeros(len(y), channels))[0]  # type: ignore[no-any-return]

    def g(self, t: Tensor, y: Tensor, channels: int) -> Tensor:
        """The diffusion; column by column if only its products are known."""
        if "g" in self.methods:
            return self.methods["g"](t, y)  # type: ignore[no-any-return]
        if "f_and_g" in self.methods:
            return self.methods["f_and_g"](t, y)[1]  # type: ignore[no-any-return]
        if self.noise_type == "diagonal":
            return self._product(t, y, torch.ones_like(y))
        units = torch.eye(channels, dtype=y.dtype, device=y.device)
        return torch.stack([self._product(t, y, e.expand(len(y), -1)) for e in units], -1)

    def _product(self, t: Tensor, y: Tensor, v: Tensor) -> Tensor:
        if "g_prod" in self.methods:
            return self.methods["g_prod"](t, y, v)  # type: ignore[no-any-return]
        return self.methods["f_and_g_prod"](t, y, v)[1]  # type: ignore[no-any-return]

    def channels(self, t: Tensor, y: Tensor, noise: int | None) -> int:
        """Number of Brownian motions, from the shape of the diffusion or of the given noise.

        Raises:
            ValueError: If shapes do not agree, or the number is not known.
        """
        whole = next((k for k in ("g", "f_and_g") if k in self.methods), None)
        if whole is None:
            if noise is None and self.noise_type not in ("diagonal", "scalar"):
                raise ValueError(
                    f"the Brownian motions of {self.name} are not known: pass bm, or define g"
                )
            count = noise or (1 if self.noise_type == "scalar" else y.shape[1])
        else:
            with torch.no_grad():
                b = self.g(t, y, 0)
            wanted = tuple(y.shape)
            if self.noise_type == "diagonal":
                if tuple(b.shape) != wanted:
                    raise ValueError(f"g gives {wanted}, (batch, d), got {tuple(b.shape)}")
            elif b.ndim != 3 or tuple(b.shape[:2]) != wanted:
                raise ValueError(f"g gives (batch, d, channels) for {wanted}, got {tuple(b.shape)}")
            count = b.shape[-1]
        if self.noise_type == "scalar" and count != 1:
            raise ValueError(f"scalar noise has one channel, the diffusion has {count}")
        if noise is not None and noise != count:
            raise ValueError(f"bm has {noise} channels, the diffusion {count}")
        return count

    def equation(self, channels: int) -> SDE:
        """The object as an equation of ours."""
        matrix = self.noise_type in ("additive", "general")
        noise: Noise = self.noise_type  # type: ignore[assignment]

        def drift(x: Tensor, t: Tensor) -> Tensor:
            return self.f(t.flatten()[0], x, channels)

        def diffusion(x: Tensor, t: Tensor) -> Tensor:
            b = self.g(t.flatten()[0], x, channels)
            return b.squeeze(-1) if self.noise_type == "scalar" else b

        return SDE(
            drift,
            diffusion,
            noise=noise,
            calculus=self.sde_type,  # type: ignore[arg-type]
            channels=channels if matrix else None,
        )


def with_kl(terms: Terms) -> Terms:
    """The object with the KL to its prior as the last value of the state.

    Raises:
        AttributeError: If drift, diffusion or the prior's drift is missing.
    """
    missing = {"f", "g", "h"} - set(terms.methods)
    if missing:
        raise AttributeError(
            f"logqp compares the drift f with the prior's h, in units of g; {terms.name} lacks "
            f"{', '.join(sorted(missing))}"
        )
    f, g, h = (terms.methods[k] for k in "fgh")
    diagonal = terms.noise_type == "diagonal"

    def drift(t: Tensor, y: Tensor) -> Tensor:
        y = y[:, :-1]
        a, b = f(t, y), g(t, y)
        gap = a - h(t, y)
        if diagonal:
            near = b.abs() < _SMALLEST
            u = gap / torch.where(near, torch.full_like(b, _SMALLEST), b)
        else:
            u = (torch.linalg.pinv(b) @ gap.unsqueeze(-1)).squeeze(-1)
        return torch.cat([a, 0.5 * u.square().sum(1, keepdim=True)], 1)

    def diffusion(t: Tensor, y: Tensor) -> Tensor:
        b = g(t, y[:, :-1])
        return torch.cat([b, torch.zeros_like(b[:, :1])], 1)

    out = object.__new__(Terms)
    out.noise_type, out.sde_type, out.name = terms.noise_type, terms.sde_type, terms.name
    out.methods = {"f": drift, "g": diffusion}
    return out
