"""Samplers of other libraries, behind one interface; a library that is absent is skipped."""

from __future__ import annotations

from importlib import import_module

from .base import GRIDS, Adaptive, Denoiser, Peer, noise_levels

__all__ = ["GRIDS", "Adaptive", "Denoiser", "Peer", "absent", "adaptive", "noise_levels", "peers"]

_MODULES = {
    "diffusers": ".diffusers",
    "k-diffusion": ".k_diffusion",
    "azula": ".azula",
    "torchsde": ".integrators",
}


def _load() -> tuple[list[Peer], list[Adaptive], dict[str, str]]:
    fixed: list[Peer] = []
    free: list[Adaptive] = []
    missing: dict[str, str] = {}
    for library, module in _MODULES.items():
        try:
            found = import_module(module, __name__)
        except ImportError as error:
            missing[library] = str(error)
            continue
        fixed += found.PEERS
        free += getattr(found, "ADAPTIVE", [])
    return fixed, free, missing


_PEERS, _ADAPTIVE, _ABSENT = _load()


def peers() -> list[Peer]:
    """Every fixed-grid sampler of the libraries that are installed."""
    return list(_PEERS)


def adaptive() -> list[Adaptive]:
    """Every adaptive sampler of the libraries that are installed."""
    return list(_ADAPTIVE)


def absent() -> dict[str, str]:
    """Libraries that could not be imported, and why."""
    return dict(_ABSENT)
