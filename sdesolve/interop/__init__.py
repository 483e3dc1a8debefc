"""Other libraries, in and out.

May import from everything below the package itself. Read ``torchsde.py`` and ``torchdiffeq.py``
(their integrators behind :func:`sdesolve.solve`), ``common.py``, then the loaders, one file for
each library: ``load`` makes ``process, score`` of what it is given. A module, and the library
behind it, is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..equations.foreign import as_equation, from_torchsde

if TYPE_CHECKING:
    from .torchdiffeq import Torchdiffeq
    from .torchsde import Torchsde

LOADERS = (
    "arrays",
    "azula",
    "deepinv",
    "diffusers",
    "edm",
    "flow",
    "guided_diffusion",
    "k_diffusion",
    "lucidrains",
    "physicsnemo",
    "sbi",
    "score_sde",
)

__all__ = ["LOADERS", "Torchdiffeq", "Torchsde", "as_equation", "from_torchsde", *LOADERS]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in LOADERS:
        return import_module(f".{name}", __name__)
    if name in ("Torchdiffeq", "Torchsde"):
        return getattr(import_module(f".{name.lower()}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
