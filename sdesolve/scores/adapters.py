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
from dataclasses import dataclass

import torch
from torch import Tensor

from ..equations.process import Process
from ..shapes import expand_like

__all__ = [
    "EnergyScore",
    "Score",
    "change_process",
    "from_data",
    "from_denoiser",
    "from_energy",
    "from_noise",
    "from_velocity",
    "threshold",
]


Score = Callable[..., Tensor]
"""Callable ``(x, t, **cond) -> tensor like x``; x ``(batch, *event)``, t ``(batch,)``."""


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
        >>> import sdesolve as ss
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


@dataclass(frozen=True)
class EnergyScore:
    """The score of an energy, which gives the energy as well; made by :func:`from_energy`."""

    energy: Callable[..., Tensor]

    def with_energy(self, x: Tensor, t: Tensor, **cond: Tensor) -> tuple[Tensor, Tensor]:
        """Energies ``(batch,)`` and score like ``x``, in one evaluation."""
        create = torch.is_grad_enabled()
        with torch.enable_grad():
            y = x if x.requires_grad else x.detach().requires_grad_()
            energy = self.energy(y, t, **cond)
            if energy.shape != x.shape[:1]:
                raise ValueError(
                    f"an energy is one number per sample, ({len(x)},), got {tuple(energy.shape)}; "
                    "sum over the event"
                )
            (gradient,) = torch.autograd.grad(energy.sum(), y, create_graph=create)
        return (energy if create else energy.detach()), -gradient

    def __call__(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """The score alone."""
        return self.with_energy(x, t, **cond)[1]


def from_energy(energy: Callable[..., Tensor]) -> EnergyScore:
    """Score of an energy, s = -grad_x E, where p_t is proportional to exp(-E).

    Metropolis kernels (:class:`sdesolve.MALA`, :class:`sdesolve.HMC`) find the energy in it.

    Args:
        energy: Callable ``(x, t, **cond) -> (batch,)``, differentiable in x, each entry a function
            of its own sample alone. Autograd is switched on inside.

    Raises:
        ValueError: When called, if the energy has another shape.
    """
    return EnergyScore(energy)


def change_process(score: Score, old: Process, new: Process) -> Score:
    """Serve a score learned under one linear process to another.

    At equal signal-to-noise ratio the two noised data are the same up to a scale,
    x_old = (alpha_old / alpha_new) x_new, and so are their scores, inversely.

    Args:
        score: A score of ``old``.
        old: The process the score was learned under.
        new: The process it shall serve.

    Raises:
        ValueError: If ``new`` reaches noise levels at which ``score`` was never trained.
    """
    low, high = old.log_snr(old.T), old.log_snr(0.0) if _starts_blurred(old) else float("inf")
    slack = 1e-9
    if new.log_snr(new.T) < low - slack or new.log_snr(new.eps) > high + slack:
        raise ValueError(
            f"the new process spans sigma/alpha from {_ratio(new, new.eps):.4g} to "
            f"{_ratio(new, new.T):.4g}, the score knows "
            f"{_ratio(old, old.eps):.4g} to {_ratio(old, old.T):.4g}; choose the new process "
            f"within, for example EDM(sigma_min={_ratio(old, old.eps):.4g}, "
            f"sigma_max={_ratio(old, old.T):.4g})"
        )

    def changed(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        u = old.time(new.log_snr(t)).clamp(max=old.T)
        scale = expand_like(old.alpha(u) / new.alpha(t), x)
        return scale * score(scale * x, u, **cond)

    return changed


def threshold(
    score: Score,
    process: Process,
    low: float = -1.0,
    high: float = 1.0,
    *,
    quantile: float | None = None,
) -> Score:
    """Keep the denoised mean D = (x + sigma^2 s)/alpha of a score in the range of the data.

    Large guidance scales push D out of the range of pixels; every solver may be given the score
    that this returns. Where D is in the range the score is unchanged, to the last bit. The result
    is another score: the reference that the old one brought is passed on, tuned solvers are not.

    Args:
        score: Callable ``(x, t, **cond) -> like x``; guidance first, then this.
        process: The process of the score.
        low: Smallest value of the data.
        high: Largest value of the data.
        quantile: None clamps D to [low, high] (static). With p in (0, 1], u = D moved and scaled
            so that the range is [-1, 1], and q the p-quantile of abs(u) over the sample's event,
            or 1 if that is more: u is clamped to [-q, q] and divided by q (dynamic, which
            saturates fewer values; published with p = 0.995).

    Raises:
        ValueError: If low < high is not so or the quantile is outside (0, 1]; when called at
            sigma = 0, where a score is singular (on the CPU; elsewhere looking would wait for the
            device, and the values are NaN).

    References:
        Saharia et al. 2022 (Imagen), section 2.3.

    Examples:
        >>> import sdesolve as ss
        >>> process = ss.EDM()
        >>> score = threshold(from_data(lambda x, t: x + 2, process), process)
        >>> score(torch.zeros(1, 2), torch.ones(1))  # D = 1, x = 0, sigma = 1
        tensor([[1., 1.]])
    """
    if not low < high:
        raise ValueError(f"low must be below high, got low={low}, high={high}")
    if quantile is not None and not 0 < quantile <= 1:
        raise ValueError(
            f"quantile lies in (0, 1], 0.995 as published, got {quantile}; leave it out to clamp "
            "to the range itself"
        )
    middle, half = (low + high) / 2, (high - low) / 2

    def thresholded(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        sigma = process.sigma(t)
        if sigma.device.type == "cpu" and bool((sigma == 0).any()):
            raise ValueError("the score is singular at sigma = 0: ask for it at t > 0")
        alpha, sigma = expand_like(process.alpha(t), x), expand_like(sigma, x)
        value = score(x, t, **cond)
        data = (x + sigma**2 * value) / alpha
        kept = data.clamp(low, high)
        if quantile is not None:
            u = (data - middle) / half
            size = torch.quantile(u.reshape(len(u), -1).abs(), quantile, dim=1)
            size = expand_like(size.clamp(min=1.0), x)
            smaller = middle + half * torch.minimum(u.maximum(-size), size) / size
            kept = torch.where(size > 1, smaller, kept)
        return value + alpha * (kept - data) / sigma**2

    return keep_reference(score, thresholded)


def keep_reference(score: Score, made: Score) -> Score:
    """Give ``made`` the reference that ``score`` brought: it is about the same data."""
    reference = getattr(score, "reference", None)
    if reference is not None:
        made.reference = reference  # type: ignore[attr-defined]
    return made


def _starts_blurred(process: Process) -> bool:
    return process.sigma(0.0) > 0


def _ratio(process: Process, t: float) -> float:
    return process.sigma(t) / process.alpha(t)
