"""Which of cuDNN's convolutions a computation may use; on other devices nothing changes."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

__all__ = ["exact", "fastest"]


def fastest() -> AbstractContextManager[None]:
    """For batches of one shape: measure once which convolution is the fastest."""
    return _flags(benchmark=True, allow_tf32=torch.backends.cudnn.allow_tf32)


def exact() -> AbstractContextManager[None]:
    """Single precision throughout.

    By default a GPU rounds what enters a convolution to 11 bits (TF32). A solver that is asked for
    an error of 1e-5 takes that rounding for structure: 817 evaluations of an image's likelihood
    instead of 180 (the CIFAR-10 network, benchmarks/results/likelihood.json).
    """
    return _flags(benchmark=torch.backends.cudnn.benchmark, allow_tf32=False)


def _flags(benchmark: bool, allow_tf32: bool) -> AbstractContextManager[None]:
    known = torch.backends.cudnn
    return known.flags(
        enabled=known.enabled,
        benchmark=benchmark,
        deterministic=known.deterministic,
        allow_tf32=allow_tf32,
    )
