"""What the tests of the bridges to torchsde and torchdiffeq share."""

import math

import torch

import sdesolve as ss

PROCESS = ss.VPSDE()
TARGET = ss.Gaussian(torch.full((2,), 0.5), 0.04)


class Counted:
    """A function of (x, t) that counts its calls and looks at its times."""

    def __init__(self, function, low=-math.inf, high=math.inf):
        self.function, self.calls, self.low, self.high = function, 0, low, high

    def __call__(self, x, t, **cond):
        self.calls += 1
        assert t.dtype == x.dtype
        # The ends themselves, as the dtype of x holds them.
        ends = torch.tensor([self.low, self.high], dtype=x.dtype)
        assert ends[0] <= t.min() and t.max() <= ends[1]
        return self.function(x, t)


def ornstein_uhlenbeck(drift=None):
    """dx = -x dt + 0.7 dW: variance 0.245 (1 - exp(-2 t)) around x0 exp(-t)."""
    return ss.SDE(
        drift or (lambda x, t: -x), lambda x, t: torch.full_like(t, 0.7), noise="additive"
    )


def start(*shape, value=1.0):
    return torch.full(shape, value, dtype=torch.float64)
