"""Likelihood of the shipped network, and its price beside the published way of computing it.

    python -m benchmarks.likelihood bits --write --data zalando-datasets/fashion_mnist
    python -m benchmarks.likelihood speed --write --model fashion-mnist-edm
    python -m benchmarks.likelihood bits --count 8    # a trial, under runs/benchmarks

``bits`` is resumable. ``speed`` gives the same dequantised images and the same probe to
``ss.log_likelihood`` and to a straight port of the published method (scipy's RK45 over the whole
batch as one vector in t, one forward pass for the drift and another for the divergence), and
measures both against a solution in float64 at a tolerance of 1e-6. Times are CPU seconds of one
thread, which other work on the machine disturbs least.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import integrate
from torch import Tensor

import scorezoo
import sdesolve as ss
from benchmarks import record
from scorezoo.data import ImageData, load_images
from scorezoo.likelihood import bin_scale, evaluate_likelihood

NAME = "likelihood"


def bits(
    model: scorezoo.ScoreModel, images: ImageData, count: int, folder: Path, batch: int
) -> dict[str, Any]:
    """Bits per dimension of the first ``count`` test images at a tolerance of 1e-5."""
    result = evaluate_likelihood(
        model, images, count, divergence=ss.Hutchinson(1), batch_size=batch, folder=folder
    )
    mean, half = result.mean()
    nfe = result.values["nfe"].double()
    return {
        "count": count,
        "bits_per_dim": mean,
        "half_interval_95": half,
        "rtol": 1e-5,
        "eps": model.process.eps,
        "nfe_mean": nfe.mean().item(),
        "nfe_range": [int(nfe.min()), int(nfe.max())],
        "failed": int((result.values["status"] != ss.Status.DONE).sum()),
        "seconds_per_image": result.seconds / count,
        "prior_mismatch_bits": result.bits(result.values["prior_mismatch"]).mean().item(),
        "range": [result.bits_per_dim.min().item(), result.bits_per_dim.max().item()],
        "machine": record.machine(device=str(model.device)),
    }


@dataclass(frozen=True)
class _Given(ss.Hutchinson):
    """One probe for each sample, given."""

    given: Tensor = torch.empty(0)

    def shape(self, z: Tensor) -> Tensor:
        """The given probes."""
        return self.given[:, None].to(z)


def published(
    model: scorezoo.ScoreModel, x: Tensor, v: Tensor, tolerance: float
) -> tuple[Tensor, int]:
    """The published method: log-densities in nats, and forward passes."""
    process, event = model.process, x.shape[1:]
    size = x.numel()
    forwards = 0

    def drift(y: Tensor, t: Tensor) -> Tensor:
        nonlocal forwards
        forwards += 1
        rate = process.rate(t)[:, None, None, None]
        half = 0.5 * process.diffusion(t)[:, None, None, None] ** 2
        return rate * y - half * model.score(y, t)

    def rates(t: float, state: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
        y = torch.from_numpy(state[:size]).to(x).reshape(len(x), *event)
        times = torch.full((len(x),), t)
        with torch.no_grad():
            value = drift(y, times)
        with torch.enable_grad():
            y.requires_grad_()
            (product,) = torch.autograd.grad((drift(y, times) * v).sum(), y)
        trace = (product * v).flatten(1).sum(1)
        return np.concatenate([value.numpy().reshape(-1), trace.numpy()])

    start = np.concatenate([x.numpy().reshape(-1), np.zeros(len(x))])
    span = (process.eps, process.T)
    end = integrate.solve_ivp(rates, span, start, rtol=tolerance, atol=tolerance, method="RK45").y[
        :, -1
    ]
    latent = torch.from_numpy(end[:size]).reshape(len(x), *event)
    return process.prior(event).log_prob(latent) + torch.from_numpy(end[size:]), forwards


def speed(model: scorezoo.ScoreModel, images: ImageData, count: int) -> dict[str, Any]:
    """Forward passes, CPU seconds and error of both ways."""
    x = images.batch(torch.arange(count), model.data_range)
    generator = torch.Generator().manual_seed(0)
    quantisation = ss.dequantise.Quantisation(256, bin_scale(model))
    x = quantisation.dequantise(x, torch.randn(x.shape, generator=generator))
    v = torch.where(torch.rand(x.shape, generator=generator) < 0.5, -1.0, 1.0)
    dimensions = x[0].numel()

    def ours(
        net: scorezoo.ScoreModel, y: Tensor, tolerance: float, method: Literal["dopri5", "tsit5"]
    ) -> tuple[Tensor, float, int]:
        result = ss.log_likelihood(
            net.process,
            net.score,
            y,
            divergence=_Given(1, given=v),
            solver=ss.AdaptiveODE(method=method, rtol=tolerance, atol=tolerance),
        )
        return result.log_prob, result.nfe.double().mean().item(), result.calls

    truth = ours(copy.deepcopy(model).double(), x.double(), 1e-6, "dopri5")[0]
    rows = []

    def add(name: str, tolerance: float, run: Any) -> None:
        start = time.process_time()
        log_prob, per_image, calls = run()
        seconds = time.process_time() - start
        error = (log_prob.double() - truth) / (dimensions * math.log(2))
        rows.append(
            {
                "name": name,
                "tolerance": tolerance,
                "forwards_per_image": per_image,
                "batched_calls": calls,
                "cpu_seconds_per_image": seconds / count,
                "error_bits_per_dim": error.square().mean().sqrt().item(),
            }
        )
        print(rows[-1], flush=True)

    def port(tolerance: float) -> tuple[Tensor, float, int]:
        log_prob, forwards = published(model, x, v, tolerance)
        return log_prob, forwards, forwards

    ours(model, x, 0.1, "dopri5")  # warm up
    for tolerance in (1e-3, 1e-4, 1e-5):
        add("published, RK45 in t", tolerance, lambda t=tolerance: port(t))
        add("ours, dopri5", tolerance, lambda t=tolerance: ours(model, x, t, "dopri5"))
    add("ours, tsit5", 1e-4, lambda: ours(model, x, 1e-4, "tsit5"))
    return {"count": count, "rows": rows, "machine": record.machine("scipy")}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one part and keep it beside the others."""
    parser = record.parser(__doc__)
    parser.add_argument("part", choices=["bits", "speed"], help="what to measure")
    parser.add_argument("--model", default="fashion-mnist", help="network")
    parser.add_argument("--data", default="zalando-datasets/fashion_mnist", help="Hub id or folder")
    parser.add_argument("--count", type=int, default=256, help="images of the bits")
    parser.add_argument("--batch", type=int, default=16, help="images at a time, of the bits")
    parser.add_argument("--device", default="cpu", help="of the bits; cuda: faster, other probes")
    parser.add_argument("--few", type=int, default=4, help="images of the speed")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/likelihood"), help="bits of single images so far"
    )
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    torch.set_num_threads(1)
    device = arguments.device if arguments.part == "bits" else "cpu"
    model = scorezoo.load(arguments.model, device=device)
    images = load_images(arguments.data, "test")
    if arguments.part == "bits":
        folder = arguments.folder / arguments.model
        part = bits(model, images, arguments.count, folder, arguments.batch)
    else:
        part = speed(model, images, arguments.few)
    result = place.read(NAME)
    known = result.get(arguments.part, {})
    place.write(NAME, {**result, arguments.part: {**known, arguments.model: part}})
    print(json.dumps(part, indent=1))
    place.finish()


if __name__ == "__main__":
    main()
