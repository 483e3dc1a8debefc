"""Tests are deterministic: hypothesis is derandomised and nothing is timed.

Their tensors are small: one thread for each of ``pytest -n 2``'s processes is the fastest.
"""

import torch
from hypothesis import settings

torch.set_num_threads(1)

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("ci")
