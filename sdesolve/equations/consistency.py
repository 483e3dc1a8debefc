r"""Whether the functions of a process belong together.

alpha and sigma say what the noised data are; f and g^2 have to follow from them,

.. math:: f = d\log\alpha/dt, \qquad g^2 = d\sigma^2/dt - 2 f \sigma^2,

and ``time``, ``noise_time`` have to invert ``log_snr``, ``total_noise``. A solver believes each of
them: one that is wrong gives samples of another law, with nothing to be seen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .process import Process

__all__ = ["check_process", "process_faults"]

_STEP = 1e-5


def check_process(process: Process) -> None:
    """Check a process of one's own before it is used.

    Args:
        process: Any process.

    Raises:
        ValueError: With everything that is wrong, in words.

    Examples:
        >>> import sdesolve as ss
        >>> ss.check_process(ss.VPSDE())
    """
    faults = process_faults(process)
    if faults:
        raise ValueError(f"{process!r}: " + "; ".join(faults))


def process_faults(process: Process) -> list[str]:
    """What is wrong with a process, in words; nothing for a right one."""
    ends = process.eps, process.T
    if not 0 < ends[0] < ends[1] < math.inf:
        return [f"expected 0 < eps < T, got eps={ends[0]}, T={ends[1]}"]
    share = torch.tensor([0.0, 0.003, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])
    t = ends[0] + (ends[1] - ends[0]) * share.to("cpu", torch.float64)
    names = ("alpha", "sigma", "log_snr", "rate", "diffusion", "total_noise")
    values = {name: getattr(process, name)(t) for name in names}
    odd = [name for name in names if not bool(torch.isfinite(values[name]).all())]
    if odd:
        return [f"{', '.join(odd)} is not finite between eps and T"]
    faults = []
    if not bool((values["alpha"] > 0).all() and (values["sigma"] > 0).all()):
        return ["alpha and sigma are positive between eps and T"]
    if not bool((values["log_snr"].diff() < 0).all()):
        return ["log_snr falls with t: time runs from data at 0 to noise at T"]
    if _far(values["log_snr"], values["alpha"].log() - values["sigma"].log(), 1e-6, 1e-6):
        faults.append("log_snr is log(alpha / sigma), which this one's is not")
    # Differences within the ends, and in pieces: a table has corners.
    inner = t[1:-1]
    _, f_low, f_high = _slopes(lambda u: process.alpha(u).log(), inner)
    if _outside(process.rate(inner), f_low, f_high):
        faults.append("rate is not d log alpha / dt: the drift contradicts alpha")
    squares, low, high = _slopes(lambda u: process.sigma(u) ** 2, inner)
    extra = -2 * process.rate(inner) * process.sigma(inner) ** 2
    if _outside(process.diffusion(inner) ** 2, low + extra, high + extra):
        wanted = (squares + extra).clamp(min=0).sqrt()
        worst = (process.diffusion(inner) / wanted - 1).abs().argmax()
        faults.append(
            f"diffusion contradicts sigma: at t = {inner[worst]:.4g} g is "
            f"{process.diffusion(inner)[worst]:.4g}, and sqrt(d sigma^2/dt - 2 f sigma^2) is "
            f"{wanted[worst]:.4g}; write Interpolant(alpha, sigma), which finds g itself"
        )
    if _far(process.time(values["log_snr"]), t, 1e-5, 1e-9 * ends[1]):
        faults.append("time does not invert log_snr")
    if _far(process.noise_time(values["total_noise"]), t, 1e-4, 1e-6 * ends[1]):
        faults.append("noise_time does not invert total_noise")
    _, low, high = _slopes(process.total_noise, inner)
    if _outside(process.diffusion(inner) ** 2, low, high):
        faults.append("total_noise is not the integral of the square of diffusion")
    return faults


def _slopes(function, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Rates over both sides together, and the smaller and the larger one of the two sides."""
    h = _STEP * t
    before, at, after = function(t - h), function(t), function(t + h)
    left, right = (at - before) / h, (after - at) / h
    return (after - before) / (2 * h), torch.minimum(left, right), torch.maximum(left, right)


def _outside(value: Tensor, low: Tensor, high: Tensor) -> bool:
    slack = 1e-3 * torch.maximum(low.abs(), high.abs()) + 1e-7
    return bool(((value < low - slack) | (value > high + slack)).any())


def _far(value: Tensor, wanted: Tensor, relative: float, absolute: float) -> bool:
    return not torch.allclose(value, wanted, rtol=relative, atol=absolute)
