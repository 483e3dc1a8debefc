r"""Which times a batch trains: uniform numbers mapped to times.

==============  =============================================================
uniform         t uniform in (eps, T]
stratified      one uniform number from each of ``batch`` equal intervals; for
                any of the others, a sum over the batch of smaller variance
log-normal      log(sigma/alpha) normal: where learning is possible and needed
importance      density proportional to g^2 / sigma^2
==============  =============================================================

For every linear process

.. math:: g^2 / \sigma^2 = d \log \sigma^2 / dt - 2 f = -2\, d\lambda / dt,

so that the last is uniform in the log-SNR lambda, with the normalisation
2 (lambda(eps) - lambda(T)).

References:
    Kingma et al. 2021, appendix I.1 (low discrepancy); Karras et al. 2022, table 1 (log-normal);
    Song et al. 2021b, section 4.2 (importance).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdesolve import Process

__all__ = ["importance_times", "log_normal_times", "stratify", "uniform_times"]


def stratify(uniform: Tensor) -> Tensor:
    """Move uniform number i of n into [i/n, (i + 1)/n).

    Args:
        uniform: Numbers in [0, 1), ``(batch,)``.

    Returns:
        ``(batch,)``, float64; each is uniform in its interval, one drawn at random in [0, 1).
    """
    n = len(uniform)
    return (torch.arange(n, dtype=torch.float64, device=uniform.device) + uniform.double()) / n


def uniform_times(uniform: Tensor, process: Process, eps: float = 1e-5) -> Tensor:
    """Map uniform numbers in [0, 1) to times in (eps, T].

    Args:
        uniform: ``(batch,)``.
        process: Its ``T`` is the largest time.
        eps: Smallest time, excluded.
    """
    return process.T - (process.T - eps) * uniform


def log_normal_times(uniform: Tensor, process: Process, mean: float, std: float) -> Tensor:
    """Map uniform numbers in (0, 1) to times of normal log(sigma/alpha), ``(batch,)``.

    Args:
        uniform: ``(batch,)``.
        process: Levels beyond its own are moved to its ends.
        mean: Mean of log(sigma/alpha).
        std: Its standard deviation.
    """
    t: Tensor = process.time(-(mean + std * torch.special.ndtri(uniform)))
    return t.clamp(process.eps, process.T)


def importance_times(uniform: Tensor, process: Process, eps: float = 1e-5) -> Tensor:
    """Map uniform numbers in [0, 1) to times in (eps, T] with density prop. to g^2 / sigma^2.

    Args:
        uniform: ``(batch,)``.
        process: Noising process.
        eps: Smallest time, excluded.
    """
    first, last = process.log_snr(process.T), process.log_snr(eps)
    t: Tensor = process.time(first + (last - first) * uniform)
    return t.clamp(eps, process.T)
