"""Which kernels a GPU may compute with; on other devices nothing changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["exact", "fastest"]


@contextmanager
def fastest() -> Iterator[None]:
    """For batches of one shape: measure once which convolution is the fastest."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark
    cudnn.benchmark = True
    try:
        yield
    finally:
        cudnn.benchmark = before


@contextmanager
def exact() -> Iterator[None]:
    """Single precision throughout.

    By default a GPU rounds what enters a convolution to 11 bits (TF32). A solver that is asked for
    an error of 1e-5 takes that rounding for structure, which costs several times the evaluations
    (README, "On a GPU").
    """
    conv, matmul = getattr(torch.backends.cudnn, "conv", None), torch.backends.cuda.matmul
    settings: list[tuple[Any, str, object]]
    if hasattr(conv, "fp32_precision"):
        settings = [(conv, "fp32_precision", "ieee"), (matmul, "fp32_precision", "ieee")]
    else:  # torch before 2.9
        settings = [(torch.backends.cudnn, "allow_tf32", False), (matmul, "allow_tf32", False)]
    before = [getattr(place, name) for place, name, _ in settings]
    try:
        for place, name, value in settings:
            setattr(place, name, value)
        yield
    finally:
        for (place, name, _), value in zip(settings, before, strict=True):
            setattr(place, name, value)
