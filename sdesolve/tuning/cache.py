r"""Where the result of a tuning is kept: a file named by a digest of all that it depends on.

What was given (data, reference, conditions, initial noise, settings) goes in to the last bit: one
bit more is another file, at worst a tuning done twice. A process is its clock, alpha and sigma,
whatever its ``repr``. A score is known by its values only, and the
last digits of a network's depend on the number of threads. It is asked once, with a row of the
batch at each of eight noise levels from T to eps, near the data and four times as far out; the
noise predictions -sigma s go in by random projections, to three digits of each row's largest.
Scores that agree at all these points to three digits share a file.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..equations.condition import Condition
from ..equations.process import Process
from ..equations.score import Score
from ..references.base import Reference
from ..shapes import expand_like
from .record import pack
from .tuned import Tuned

__all__ = ["cache_folder", "cache_name", "keep", "loss_name"]

# Raise it with every change of what is kept or of what tuning does.
_FORMAT = 4
_LEVELS, _PROJECTIONS = 8, 8


def cache_name(
    process: Process,
    score: Score | None,
    x: Tensor,
    data: Tensor | None,
    reference: Reference | None,
    settings: Mapping[str, object],
    cond: Condition,
) -> str:
    """Name of the file of a tuning; asks the score once.

    Args:
        process: Noising process.
        score: The score; None with a surrogate.
        x: Initial noises, ``(trajectories, *event)``.
        data: ``(n, *event)``, or None.
        reference: The one that was given, or None.
        settings: All other arguments of the tuning, with a ``repr`` each.
        cond: Tensors with an entry for each trajectory.

    Raises:
        TypeError: If the reference is of a kind that cannot be saved.
    """
    digest = hashlib.sha256(repr((_FORMAT, process.key, sorted(settings.items()))).encode())

    def add(name: str, value: object) -> None:
        digest.update(f"\0{name}\0".encode())
        if isinstance(value, Tensor):
            value = value.detach().cpu().contiguous()
            digest.update(f"{value.dtype} {tuple(value.shape)}\0".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value):
                add(f"{name}.{key}", value[key])
        else:
            digest.update(repr(value).encode())

    add("noise", x)
    add("data", data)
    add("reference", None if reference is None else pack(reference))
    add("kind", type(reference).__name__)
    add("cond", dict(cond))
    if score is not None:
        largest, values = _probe(process, score, x, data, reference, cond)
        add("size", [f"{v:.2e}" for v in largest])
        add("score", values)
    return f"tuned-{digest.hexdigest()[:24]}.json"


def loss_name(
    loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, data: Tensor | None
) -> list[str]:
    """What a loss of one's own is known by: like a score, by its values, to three digits.

    Args:
        loss: A function.
        x: Some noises, ``(n, *event)``.
        data: ``(m, *event)``, or None.
    """
    z = x / x.std()
    points = z if data is None else data[torch.arange(len(z), device=data.device) % len(data)].to(z)
    moved = (points + size * points.std() * z.roll(1, 0) for size in (1.0, 0.1, 0.01))
    return [f"{loss(y, points).item():.2e}" for y in moved]


def cache_folder(cache: bool | str | os.PathLike[str]) -> Path | None:
    """Folder of kept tunings, or None.

    Raises:
        TypeError: If it is neither a folder nor True or False.
    """
    if cache is False:
        return None
    if cache is True:
        root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        return Path(root) / "sdesolve"
    if not isinstance(cache, (str, os.PathLike)):
        raise TypeError(f"cache is True, False or a folder, got {cache!r}")
    return Path(cache)


def keep(tuned: Tuned, file: Path) -> None:
    """Write a tuning; a folder that cannot be written costs a warning, not the result."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        tuned.save(file)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        warnings.warn(
            f"the tuned solver was not kept in {file.parent} ({error}); it is returned all the "
            "same, and will be tuned anew next time",
            RuntimeWarning,
            stacklevel=4,
        )


def _probe(
    process: Process,
    score: Score,
    x: Tensor,
    data: Tensor | None,
    reference: Reference | None,
    cond: Condition,
) -> tuple[list[float], Tensor]:
    """Largest projection of each row, and all of them in thousandths of it."""
    n = len(x)
    row = torch.arange(n, device="cpu")
    ends = process.log_snr(process.T), process.log_snr(process.eps)
    levels = process.time(torch.linspace(*ends, _LEVELS, dtype=torch.float64, device="cpu"))
    times = levels.clamp(max=process.T)[row % _LEVELS].to(x.dtype).to(x.device)
    z = x / process.prior_std(process.T)
    if data is not None:
        points, centre = data[row.to(data.device) % len(data)].to(z), data.mean(0).to(z)
    else:
        scale, mean = (1.0, None) if reference is None else (reference.scale, reference.mean)
        centre = torch.zeros_like(z[0]) if mean is None else mean.to(z.dtype).to(z.device)
        points = centre + scale * z.roll(1, 0)
    alpha, sigma = (expand_like(f(times), x) for f in (process.alpha, process.sigma))
    far = expand_like((1.0 + 3.0 * (row // _LEVELS % 2)).to(x.dtype).to(x.device), x)
    y = alpha * centre + far * (alpha * (points - centre) + sigma * z)
    noise = (sigma * score(y, times, **cond)).flatten(1).cpu().double()
    generator = torch.Generator("cpu").manual_seed(0)
    shape = noise.shape[1], _PROJECTIONS
    v = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
    values = noise @ v
    largest = values.abs().amax(1, keepdim=True)
    thousandths = (values / largest.clamp(min=1e-300) * 1000).round()
    # Not a number has many bit patterns, minus zero a second one.
    return largest.flatten().tolist(), thousandths.nan_to_num(nan=1e6) + 0.0
