"""k-diffusion: its sampler functions, unchanged.

Its package imports CLIP, clean-fid and torchvision for things that no sampler touches, and asks for
numpy < 2, so it is installed without its dependencies (``make bench-install``), and only
``k_diffusion.sampling`` is imported, with an empty module in torchvision's place. Its Brownian
tree draws the same law as independent normal values when every step is asked for once, at a
hundredth of the price; the quality runs use those, the timings the tree.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .base import Adaptive, Denoiser, Peer, frozen_defaults, one_a_step, two_a_step

__all__ = ["ADAPTIVE", "PEERS", "sampling"]

NAME = "k-diffusion"


def _import_sampling() -> Any:
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("No module named 'k_diffusion'")
    package = ModuleType("k_diffusion")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules.setdefault("k_diffusion", package)
    stubs = (
        []
        if "torchvision" in sys.modules
        else [
            "torchvision",
            "torchvision.transforms",
            "torchvision.transforms.functional",
        ]
    )
    for name in stubs:
        sys.modules[name] = ModuleType(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    try:
        return importlib.import_module("k_diffusion.sampling")
    finally:
        for name in stubs:
            del sys.modules[name]


sampling = _import_sampling()


def _deterministic(
    sampler: Callable[..., Tensor], d: Denoiser, y: Tensor, levels: Tensor, seed: int
) -> Tensor:
    with frozen_defaults(y.dtype, seed):
        return sampler(d, y, levels.to(y), disable=True)


def _stochastic(
    sampler: Callable[..., Tensor], d: Denoiser, y: Tensor, levels: Tensor, seed: int
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)

    def noise(first: object, last: object) -> Tensor:
        return torch.randn(y.shape, generator=generator, dtype=y.dtype)

    with frozen_defaults(y.dtype, seed):
        return sampler(d, y, levels.to(y), disable=True, noise_sampler=noise)


def _churned(churn: float, d: Denoiser, y: Tensor, levels: Tensor, seed: int) -> Tensor:
    """Heun with the churn of Karras et al. 2022, table 5 (ImageNet), scaled with the steps."""
    with frozen_defaults(y.dtype, seed):
        out: Tensor = sampling.sample_heun(
            d,
            y,
            levels.to(y),
            disable=True,
            s_churn=churn * (len(levels) - 1),
            s_tmin=0.05,
            s_tmax=50.0,
            s_noise=1.003,
        )
    return out


def _adaptive(
    order: int, d: Denoiser, y: Tensor, ends: tuple[float, float], tolerance: float
) -> Tensor:
    with frozen_defaults(y.dtype, 0):
        out: Tensor = sampling.sample_dpm_adaptive(
            d,
            y,
            ends[1],
            ends[0],
            order=order,
            disable=True,
            rtol=tolerance,
            atol=0.156 * tolerance,  # its defaults are .05 and .0078
        )
    return out


def _peers() -> list[Peer]:
    found = []
    for name in ("heun", "lms", "dpm_2", "dpmpp_2m"):
        run = partial(_deterministic, getattr(sampling, f"sample_{name}"))
        label = f"{NAME} {name.replace('_', '-')}"
        steps = two_a_step if name in ("heun", "dpm_2") else one_a_step
        found.append(Peer(label, NAME, run, steps=steps))
    for name in ("dpmpp_2m_sde", "dpmpp_3m_sde", "dpmpp_2s_ancestral"):
        run = partial(_stochastic, getattr(sampling, f"sample_{name}"))
        label = f"{NAME} {name.replace('_', '-')}"
        steps = two_a_step if name == "dpmpp_2s_ancestral" else one_a_step
        found.append(Peer(label, NAME, run, stochastic=True, steps=steps))
    churned = partial(_churned, 40 / 256)
    found.append(Peer(f"{NAME} heun churn", NAME, churned, stochastic=True, steps=two_a_step))
    return found


PEERS = _peers()
ADAPTIVE = [
    Adaptive(f"{NAME} dpm-adaptive-{order}", NAME, partial(_adaptive, order)) for order in (2, 3)
]
