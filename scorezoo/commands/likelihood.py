"""``scorezoo likelihood``: bits per dimension with an interval, a histogram, who is likely."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .options import (
    BATCH_SIZE,
    TOLERANCE,
    BatchSize,
    Data,
    Device,
    Model,
    Seed,
    SkipCorrupt,
    Split,
    Tolerance,
)
from .run import check_device, images_of, seconds, unfinished_statuses

if TYPE_CHECKING:
    from torch import Tensor

    from ..data import ImageData
    from ..likelihood import Evaluation
    from ..model import ScoreModel

__all__ = ["likelihood"]

SHOWN = 8

PARTS = 8
"""Chunks of a small evaluation: so soon the bar tells how long it will take."""


def likelihood(
    model: Model,
    data: Data = None,
    split: Split = "test",
    count: Annotated[int, typer.Option("--count", "--limit", min=1, help="Number of images.")] = 64,
    first: Annotated[
        int, typer.Option(min=0, help="Index of the first image, to share out many.")
    ] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Dequantisations of each image.")] = 1,
    probes: Annotated[int, typer.Option(min=1, help="Probes of the divergence.")] = 2,
    tolerance: Tolerance = TOLERANCE,
    eps: Annotated[
        Optional[float],  # noqa: UP045 - typer reads the annotation on Python 3.10
        typer.Option(help="Smallest time of the process.", show_default="the model's"),
    ] = None,
    eps_correction: Annotated[
        bool, typer.Option(help="Account for the noise at eps by a denoising step.")
    ] = False,
    seed: Seed = 0,
    batch_size: BatchSize = BATCH_SIZE,
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Keep chunks here: a killed run continues from them, processes share them.",
            show_default="nowhere",
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="PNG file of the histogram.")] = Path(
        "likelihood.png"
    ),
    skip_corrupt: SkipCorrupt = False,
    device: Device = "cpu",
) -> None:
    """Print bits per dimension of images, with a 95 % interval.

    Example: scorezoo likelihood fashion-mnist --count 100 --folder runs/bits

    Many images, by several processes: the same command with --folder in each, or under accelerate
    launch -m; or each with its own --first and --count, and the whole --count at the end, which
    then only reads and reports.
    """
    from .. import sharding
    from ..files import check_output

    check_output(output, (".png",))
    if folder is not None:
        check_output(folder, option="--folder")
    elif sharding.processes() > 1:
        raise ValueError("several processes share a folder; write --folder runs/bits")
    check_device(device)

    import torch

    import sdesolve as ss

    from ..likelihood import evaluate_likelihood
    from ..model import load
    from ..pictures import save_captioned

    net = load(model, device=sharding.own_device(device))
    images = images_of(model, data, split, skip_corrupt)
    result = evaluate_likelihood(
        net,
        images,
        count,
        first=first,
        divergence=ss.Hutchinson(probes),
        draws=repeats,
        eps=eps,
        eps_correction=eps_correction,
        rtol=tolerance,
        atol=tolerance,
        seed=seed,
        batch_size=min(batch_size, max(4, count // PARTS)),
        folder=folder,
    )
    if not sharding.is_main_process():
        if not bool((result.values["status"] == ss.Status.DONE).all()):
            raise typer.Exit(1)
        return
    _report(result, net, repeats, probes, eps_correction)
    order = result.bits_per_dim.nan_to_num(math.inf).argsort()
    _extremes(result, images, order)
    histogram(result, output)
    shown = torch.cat([order[:SHOWN], order[-SHOWN:]]) if count >= 2 * SHOWN else order
    faces = output.with_name(f"{output.stem}-images.png")
    words = [f"{first + i}: {result.bits_per_dim[i].item():.3f}" for i in shown.tolist()]
    save_captioned(faces, images.pixels[first + shown], words, columns=min(SHOWN, len(shown)))
    typer.echo(f"wrote {output} (histogram) and {faces} (images with their bits/dim)")
    if unfinished_statuses(result.values["status"], "images"):
        raise typer.Exit(1)


def _report(
    result: Evaluation, net: ScoreModel, repeats: int, probes: int, corrected: bool
) -> None:
    values = result.values
    mean, half = result.mean()
    nfe = values["nfe"].double()
    count = len(nfe)
    eps_term = result.bits(-values["correction"]).mean().item()
    typer.echo(
        f"{mean:.4f} +- {half:.4f} bits/dim (95 % interval of the mean over {count} images; "
        f"bins of width {result.width:.6g})"
    )
    rows = [
        ("error of one image, from the probes", values["stderr"]),
        ("spread of its dequantisations", values["spread"]),
    ]
    for name, nats in rows:
        bits = result.bits(nats).mean().item()
        value = "needs 2 or more" if math.isnan(bits) else f"{bits:.4f} bits/dim"
        typer.echo(f"  {name:40} {value}")
    prior = result.bits(values["prior_mismatch"]).mean().item()
    typer.echo(f"  {'prior mismatch, at most':40} {prior:.5f} bits/dim")
    if corrected:
        typer.echo(f"  {'of which the step from eps to 0':40} {eps_term:+.4f} bits/dim")
    else:
        typer.echo(
            f"  density at t = {net.process.eps:g}; its noise is not accounted for "
            "(--eps-correction does)"
        )
    typer.echo(
        f"  NFE {nfe.mean().item():.4g} per image ({int(nfe.min())} to {int(nfe.max())}), "
        f"{repeats} dequantisation(s), {probes} probe(s), "
        f"{seconds(result.seconds / count)} per image"
    )


def _extremes(result: Evaluation, images: ImageData, order: Tensor) -> None:
    """Most and least likely images beside one another, none of them twice."""
    from ..pictures import caption

    bits = result.bits_per_dim
    own = slice(result.first, result.first + len(order))
    names = caption(images.labels[own], images.classes)
    rows = min(SHOWN, (len(order) + 1) // 2)
    longest = max(len(names[i]) for i in order.tolist())
    width = max(5, longest) + 2 if longest else 0  # images without labels have no such column
    typer.echo(f"{'most likely':>{width + 17}}{'least likely':>{width + 23}}")
    head = f"{'image':>8}{'label' if width else '':>{width}}{'bits/dim':>11}"
    typer.echo(head + " " * 6 + head)

    def cell(i: int) -> str:
        return f"{result.first + i:8}{names[i]:>{width}}{bits[i].item():11.4f}"

    far = order.flip(0)[: len(order) - rows].tolist()
    for row, near in enumerate(order[:rows].tolist()):
        typer.echo(cell(near) + (" " * 6 + cell(far[row]) if row < len(far) else ""))


def histogram(result: Evaluation, path: Path) -> None:
    """Write a histogram of bits per dimension as PNG."""
    import matplotlib
    import torch

    from ..files import write_atomically

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    mean, half = result.mean()
    bits = result.bits_per_dim
    fig, axis = pyplot.subplots(figsize=(6, 3.2))
    axis.hist(bits[torch.isfinite(bits)].numpy(), bins="auto", color="0.6")
    axis.axvline(mean, color="k", linewidth=1, label=f"mean {mean:.3f} \u00b1 {half:.3f}")
    axis.set_xlabel("bits per dimension")
    axis.set_ylabel("images")
    axis.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axis.legend(frameon=False)
    fig.tight_layout()
    write_atomically(path, lambda p: fig.savefig(p, format="png", dpi=120))
    pyplot.close(fig)
