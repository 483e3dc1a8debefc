"""Which of torch's kernels may compute: the fastest, the exact, those with two derivatives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["exact", "fastest", "fastest_precision", "twice_differentiable"]


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


def fastest_precision(device: torch.device) -> str:
    """What is fastest: bf16 where the device has it in hardware, else "no"; a trial tells."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    if device.type != "cpu":
        return "no"
    taken = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(8, 64, 16, 16, dtype=dtype, device=device)
        weight = torch.ones(64, 64, 3, 3, dtype=dtype, device=device)
        trials = []
        with torch.no_grad():
            for _ in range(4):
                start = time.process_time()
                F.conv2d(x, weight, padding=1)
                trials.append(time.process_time() - start)
        taken[dtype] = min(trials)
    return "bf16" if taken[torch.bfloat16] < 0.75 * taken[torch.float32] else "no"


def twice_differentiable() -> AbstractContextManager[None]:
    """Attention by products and softmax: torch's fused kernels have one derivative only."""
    return sdpa_kernel(SDPBackend.MATH)


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
