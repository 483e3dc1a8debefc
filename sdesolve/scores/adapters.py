r"""Scores, and the usual network outputs turned into scores.

A score is any callable ``score(x, t)`` that returns grad_x log p_t(x): x has shape
``(batch, *event)``, t has shape ``(batch,)``, and the result is like x. With
x_t = alpha x_0 + sigma z, a network trained by denoising estimates one of

=============  ===================================  ==========================================
output         meaning                              score
=============  ===================================  ==========================================
noise          E[z | x_t]                           -noise / sigma
data           E[x_0 | x_t]                         (alpha data - x) / sigma^2
velocity       E[alpha z - sigma x_0 | x_t]         -(sigma x + alpha v)/(sigma (alpha^2 + sigma^2))
denoiser       D(y, s), EDM's E[x_0 | x_0 + s z]    (alpha D(x/alpha, sigma/alpha) - x) / sigma^2
energy         E with p_t proportional to exp(-E)   -grad_x E
=============  ===================================  ==========================================

References:
    Ho et al. 2020 (noise); Salimans & Ho 2022, section 4 (velocity); Karras et al. 2022,
    equation 3 (denoiser).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..equations.process import Process
from ..equations.score import Score
from ..shapes import expand_like

__all__ = ["from_data", "from_denoiser", "from_noise", "from_velocity"]


def _like(x: Tensor, out: Tensor) -> Tensor:
    """What a network returned, if it is like x; it would be broadcast in silence."""
    if out.shape != x.shape:
        raise ValueError(
            f"the network must return a tensor like x, {tuple(x.shape)}, got {tuple(out.shape)}"
            + ("; a learned variance beside the mean? keep out[:, :c]" if _doubled(x, out) else "")
        )
    return out


def _doubled(x: Tensor, out: Tensor) -> bool:
    return x.ndim > 1 and out.shape == (len(x), 2 * x.shape[1], *x.shape[2:])


def from_noise(net: Callable[..., Tensor], process: Process) -> Score:
    """Score of a network that predicts the noise z.

    Args:
        net: Callable ``(x, t, **cond) -> like x``.
        process: The process the network was trained under.

    Raises:
        ValueError: When called, if the network's result is not like its input.

    Examples:
        >>> import torch, sdesolve as ss
        >>> score = from_noise(lambda x, t: 0 * x, ss.VPSDE())
        >>> score(torch.ones(1, 2), torch.ones(1)).abs().sum().item()
        0.0
    """

    def score(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        return -_like(x, net(x, t, **cond)) / expand_like(process.sigma(t), x)

    return score


def from_data(net: Callable[..., Tensor], process: Process) -> Score:
    """Score of a network that predicts the clean data x_0.

    Args:
        net: Callable ``(x, t, **cond) -> like x``.
        process: The process the network was trained under.

    Raises:
        ValueError: When called, if the network's result is not like its input.
    """

    def score(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        alpha = expand_like(process.alpha(t), x)
        return (alpha * _like(x, net(x, t, **cond)) - x) / expand_like(process.sigma(t), x) ** 2

    return score


def from_velocity(net: Callable[..., Tensor], process: Process) -> Score:
    """Score of a network that predicts the velocity v = alpha z - sigma x_0.

    Args:
        net: Callable ``(x, t, **cond) -> like x``.
        process: The process the network was trained under.

    Raises:
        ValueError: When called, if the network's result is not like its input.
    """

    def score(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        alpha = expand_like(process.alpha(t), x)
        sigma = expand_like(process.sigma(t), x)
        velocity = _like(x, net(x, t, **cond))
        noise = (sigma * x + alpha * velocity) / (alpha**2 + sigma**2)
        return -noise / sigma

    return score


def from_denoiser(net: Callable[..., Tensor], process: Process) -> Score:
    """Score of a denoiser in EDM's form, D(y, s) = E[x_0 | y = x_0 + s z].

    Args:
        net: Callable ``(y, s, **cond) -> like y`` with s, ``(batch,)``, the noise level of y.
        process: Any process; the denoiser is asked at y = x/alpha, s = sigma/alpha.

    Raises:
        ValueError: When called, if the network's result is not like its input.
    """

    def score(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        alpha, sigma = process.alpha(t), process.sigma(t)
        scale = expand_like(alpha, x)
        data = _like(x, net(x / scale, sigma / alpha, **cond))
        return (scale * data - x) / expand_like(sigma, x) ** 2

    return score
