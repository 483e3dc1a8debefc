"""torchsde's words."""

from __future__ import annotations

from typing import Any

__all__ = ["LEVY_AREA_APPROXIMATIONS", "METHODS", "METHOD_OPTIONS", "NOISE_TYPES", "SDE_TYPES"]


class _Words(type):
    def all(cls) -> list[str]:
        """Every word."""
        return [v for k, v in vars(cls).items() if not k.startswith("_")]

    def __contains__(cls, item: Any) -> bool:  # noqa: ANN401
        return item in cls.all()

    def __str__(cls) -> str:
        return ", ".join(cls.all())


class METHODS(metaclass=_Words):
    """Methods of sdeint."""

    euler = "euler"
    milstein = "milstein"
    srk = "srk"
    midpoint = "midpoint"
    heun = "heun"
    euler_heun = "euler_heun"
    log_ode_midpoint = "log_ode"
    reversible_heun = "reversible_heun"
    adjoint_reversible_heun = "adjoint_reversible_heun"


class NOISE_TYPES(metaclass=_Words):
    """What the diffusion is."""

    general = "general"
    diagonal = "diagonal"
    scalar = "scalar"
    additive = "additive"


class SDE_TYPES(metaclass=_Words):
    """The calculus."""

    ito = "ito"
    stratonovich = "stratonovich"


class LEVY_AREA_APPROXIMATIONS(metaclass=_Words):
    """What a Brownian motion knows beside W."""

    none = "none"
    space_time = "space-time"
    davie = "davie"
    foster = "foster"


class METHOD_OPTIONS(metaclass=_Words):
    """Options of methods."""

    grad_free = "grad_free"
