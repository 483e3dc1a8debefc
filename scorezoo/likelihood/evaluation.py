"""Likelihoods of the first images of a data set, chunk by chunk, and their mean.

Image i depends on (seed, i) alone, so that the chunks of several runs and of several processes fit
together (:mod:`scorezoo.pieces`): what comes out is, to the bit, what one process computes with the
same ``batch_size`` where the cuts are multiples of it, and to rounding with others.
"""

from __future__ import annotations

import hashlib
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

import sdesolve as ss

from .. import kernels
from ..arguments import check_integer
from ..data import ImageData
from ..model import ScoreModel
from ..pieces import settle, share
from ..sharding import is_main_process
from .chunks import Chunks, Part

__all__ = ["Evaluation", "bin_scale", "digest", "evaluate_likelihood"]


def bin_scale(model: ScoreModel) -> tuple[float, float]:
    """Range whose 256 bins are centred on the values that the model was trained on."""
    low, high = model.data_range
    half = 0.5 * (high - low) / 255
    return low - half, high + half


@dataclass(frozen=True)
class Evaluation:
    """Likelihoods of images ``first .. first + n - 1``, all tensors on the CPU.

    Args:
        values: ``log_prob``, ``stderr``, ... of :class:`sdesolve.LogLikelihood`, first axis the
            image.
        dimensions: Values in an image.
        width: Width of a bin.
        seconds: Time of all chunks, those of other runs and processes included.
        first: Index of the first image.
    """

    values: dict[str, Tensor]
    dimensions: int
    width: float
    seconds: float
    first: int = 0

    @property
    def bits_per_dim(self) -> Tensor:
        """``(n,)``; NaN where the solver failed."""
        return ss.dequantise.bits_per_dim(
            self.values["log_prob"].double(), self.dimensions, self.width
        )

    def bits(self, nats: Tensor) -> Tensor:
        """Nats of a difference in bits per dimension."""
        return nats.double() / (self.dimensions * math.log(2))

    def mean(self) -> tuple[float, float]:
        """Mean bits/dim over images that did not fail, and half of its 95 % interval.

        The spread over images holds every source of error: images, dequantisation and probes.
        """
        bits = self.bits_per_dim
        bits = bits[torch.isfinite(bits)]
        half = 1.96 * bits.std().item() / math.sqrt(len(bits)) if len(bits) > 1 else math.nan
        return bits.mean().item(), half


def evaluate_likelihood(
    model: ScoreModel,
    images: ImageData,
    count: int,
    *,
    first: int = 0,
    divergence: ss.Hutchinson | ss.Exact | ss.HutchPlusPlus,
    draws: int = 1,
    eps: float | None = None,
    eps_correction: bool = False,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    seed: int = 0,
    batch_size: int = 32,
    folder: Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Likelihood of images ``first .. first + count - 1``, dequantised uniformly.

    Any number of processes may share a folder: each evaluates what is not there and nobody else
    is at, and all return the whole.

    Args:
        model: The model.
        images: Byte images of the model's shape.
        count: How many.
        first: Index of the first.
        divergence: Estimator of the divergence.
        draws: Dequantisations of each image.
        eps: Smallest time; by default the process's own.
        eps_correction: Account for the noise at eps (see :func:`sdesolve.log_likelihood`).
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        seed: Seed; image i depends on (seed, i) alone.
        batch_size: Images in a chunk.
        folder: Where chunks are kept; a killed run continues from it, others share it. None keeps
            nothing.
        progress: Show a bar of images.

    Raises:
        ValueError: If the images do not fit the model, there are fewer than asked for, or the
            folder was written with other settings; the settings that differ are named.
        OSError: If the folder cannot be written.
    """
    if images.shape != model.shape:
        raise ValueError(f"images have shape {images.shape}, the model {model.shape}")
    check_integer("first", first, low=0)
    check_integer("count", count)
    check_integer("batch_size", batch_size)
    if first + count > len(images):
        raise ValueError(
            f"first + count is {len(images)} at most, the images of the split; got {first + count}"
        )
    scale = bin_scale(model)
    options: dict[str, Any] = {
        "draws": draws,
        "eps": eps,
        "eps_correction": eps_correction,
        "rtol": rtol,
        "atol": atol,
        "seed": seed,
    }
    settings = {
        **options,
        "divergence": {"name": type(divergence).__name__, **asdict(divergence)},
        "process": repr(model.process),
        "weights": digest(model.state_dict()),
        "images": digest({"pixels": images.pixels}),
    }
    with _place(folder) as place:
        chunks = Chunks(Path(place), first, count)
        settle(chunks.folder, settings, "an evaluation")
        chunks.check()
        bar = tqdm(
            total=count,
            initial=int(chunks.done().sum()),
            desc="likelihood",
            unit="image",
            disable=not (progress and is_main_process()),
        )

        def missing() -> list[Part]:
            found = chunks.missing(batch_size)
            bar.update(count - sum(part.count for part in found) - bar.n)
            return found

        def evaluate(part: Part) -> None:
            rows = torch.arange(part.first, part.first + part.count)
            x = images.batch(rows, model.data_range).to(model.device)
            start = time.perf_counter()
            result = ss.log_likelihood(
                model.process,
                model.score,
                x,
                divergence=divergence,
                bins=256,
                scale=scale,
                first=part.first,
                **options,
            )
            chunks.write(part, result, time.perf_counter() - start)

        with bar, kernels.exact():
            share(
                chunks.folder,
                missing,
                lambda part: f"{part.first // batch_size}-{batch_size}",
                evaluate,
            )
        values, seconds = chunks.read()
    width = (scale[1] - scale[0]) / 256
    return Evaluation(values, math.prod(model.shape), width, seconds, first)


def digest(tensors: dict[str, Tensor]) -> str:
    """Sixteen hexadecimal digits that tell tensors from others."""
    found = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def _place(folder: Path | None) -> AbstractContextManager[str | Path]:
    return TemporaryDirectory() if folder is None else nullcontext(folder)
