"""The global random state, lent: what torch itself draws from it is made a function of a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global state of ``device``, or of the processor; afterwards it is as before.

    Initial weights and dropout draw from it. ``torch.manual_seed`` would seed the generators of all
    devices, and they would stay so.
    """
    if device is None or device.type == "cpu":
        before = torch.get_rng_state()
        torch.default_generator.manual_seed(seed)
        restore = torch.set_rng_state
    else:
        module = getattr(torch, device.type)
        before = module.get_rng_state()
        module.manual_seed(seed)
        restore = module.set_rng_state
    try:
        yield
    finally:
        restore(before)
