"""``scorezoo likelihood``: bits per dimension with an interval, a histogram, who is likely."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Optional

import matplotlib
import torch
import typer
from torch import Tensor

import sdesolve as ss

from ..data import ImageData, load_images, write_atomically
from ..likelihood import Evaluation, evaluate_likelihood
from ..model import ScoreModel, load
from ..pictures import grid, save_png
from ..recipes import read_recipe, recipe_names

__all__ = ["likelihood", "load_split"]

SHOWN = 8

Data = Annotated[
    Optional[str],  # noqa: UP045 - typer reads the annotation on Python 3.10
    typer.Option(help="Hub id or folder; by default what the model's recipe was trained on."),
]


def load_split(name: str, data: str | None, split: str) -> ImageData:
    """Images of a split, of ``data`` or of the recipe called ``name``.

    Raises:
        ValueError: If there is neither, the recipe has no images, or they cannot be read.
    """
    if data is None and name not in recipe_names():
        raise ValueError(
            f"no recipe says what {name!r} was trained on; write --data HUB_ID_OR_FOLDER"
        )
    source = data or read_recipe(name)["data"].get("source")
    if source is None:
        raise ValueError(f"{name!r} was trained on points of a toy density, not on images")
    return load_images(source, split)


def likelihood(
    model: Annotated[str, typer.Argument(help="A shipped name, a folder or a Hub id owner/name.")],
    data: Data = None,
    split: Annotated[str, typer.Option(help="Split of the dataset.")] = "test",
    limit: Annotated[int, typer.Option(min=1, help="Number of images.")] = 64,
    repeats: Annotated[int, typer.Option(min=1, help="Dequantisations of each image.")] = 1,
    probes: Annotated[int, typer.Option(min=1, help="Probes of the divergence.")] = 2,
    tolerance: Annotated[float, typer.Option(help="Relative and absolute, of one step.")] = 1e-5,
    eps: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Smallest time; by default the model's."),
    ] = None,
    eps_correction: Annotated[
        bool, typer.Option(help="Account for the noise at eps by a denoising step.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Image i depends on (seed, i) alone.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a chunk.")] = 32,
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Keep chunks here; a killed run continues from them."),
    ] = None,
    output: Annotated[Path, typer.Option(help="PNG file of the histogram.")] = Path(
        "likelihood.png"
    ),
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, ...")] = "cpu",
) -> None:
    """Print bits per dimension of held-out images, with a 95 % interval."""
    net = load(model, device=device)
    images = load_split(model, data, split)
    result = evaluate_likelihood(
        net,
        images,
        limit,
        divergence=ss.Hutchinson(probes),
        draws=repeats,
        eps=eps,
        eps_correction=eps_correction,
        rtol=tolerance,
        atol=tolerance,
        seed=seed,
        batch_size=batch_size,
        folder=folder,
    )
    _report(result, net, repeats, probes, eps_correction)
    order = result.bits_per_dim.nan_to_num(math.inf).argsort()
    _extremes(result, images, order)
    histogram(result, output)
    shown = torch.cat([order[:SHOWN], order[-SHOWN:]]) if limit >= 2 * SHOWN else order
    faces = output.with_name(f"{output.stem}-images.png")
    save_png(faces, grid(images.pixels[shown], columns=min(SHOWN, len(shown))))
    typer.echo(f"wrote {output} (histogram) and {faces} (most and least likely images)")


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
        f"{result.seconds / count:.3g} s per image"
    )
    failed = int((values["status"] != ss.Status.DONE).sum())
    if failed:
        typer.echo(f"  {failed} image(s) failed and are left out")


def _extremes(result: Evaluation, images: ImageData, order: Tensor) -> None:
    bits = result.bits_per_dim
    typer.echo(f"{'most likely':>26}{'least likely':>32}")
    head = f"{'image':>8}{'label':>7}{'bits/dim':>11}"
    typer.echo(head + " " * 6 + head)
    for near, far in zip(order[:SHOWN].tolist(), order.flip(0)[:SHOWN].tolist(), strict=True):
        typer.echo(
            f"{near:8}{int(images.labels[near]):7}{bits[near].item():11.4f}"
            f"{far:14}{int(images.labels[far]):7}{bits[far].item():11.4f}"
        )


def histogram(result: Evaluation, path: Path) -> None:
    """Write a histogram of bits per dimension as PNG."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    mean, half = result.mean()
    bits = result.bits_per_dim
    fig, axis = pyplot.subplots(figsize=(6, 3.2))
    axis.hist(bits[torch.isfinite(bits)].numpy(), bins="auto", color="0.6")
    axis.axvline(mean, color="k", linewidth=1, label=f"{mean:.3f} +- {half:.3f}")
    axis.set_xlabel("bits per dimension")
    axis.set_ylabel("images")
    axis.legend(frameon=False)
    fig.tight_layout()
    write_atomically(path, lambda p: fig.savefig(p, format="png", dpi=120))
    pyplot.close(fig)
