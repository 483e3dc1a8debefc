"""``scorezoo sample``: a picture, tensors, or shards of any number of samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .options import (
    BATCH_SIZE,
    BatchSize,
    Denoise,
    Device,
    Guidance,
    Labels,
    Model,
    Nfe,
    Seed,
    SolverName,
    Steps,
)
from .run import check_device, unfinished

__all__ = ["sample"]

ON_THE_WAY = 4
"""Images whose way ``--path`` draws; of points there may be 1000."""


def sample(
    model: Model,
    count: Annotated[int, typer.Option(min=1, help="Number of samples.")] = 64,
    output: Annotated[
        str,
        typer.Option(help="PNG file to write; or FOLDER/, with the slash, for Parquet shards."),
    ] = "samples.png",
    save_tensors: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation on Python 3.10
        typer.Option(
            help="Also write the samples as they are: .npy or .safetensors.",
            show_default="the picture alone",
        ),
    ] = None,
    path: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Also draw how the first samples come out of noise: .png a strip, .gif moving.",
            show_default="the samples alone",
        ),
    ] = None,
    labels: Labels = None,
    guidance: Guidance = None,
    solver: SolverName = None,
    steps: Steps = None,
    nfe: Nfe = None,
    seed: Seed = 0,
    first: Annotated[
        int, typer.Option(min=0, help="Index of the first sample, to share out a large set.")
    ] = 0,
    columns: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1, max=10_000, help="Images in a row of the picture.", show_default="a square"
        ),
    ] = None,
    batch_size: BatchSize = BATCH_SIZE,
    denoise: Denoise = False,
    device: Device = "cpu",
) -> None:
    """Draw samples and write them as one picture, or as shards.

    Example: scorezoo sample fashion-mnist-edm --labels all --count 70 --nfe 20

    A million: scorezoo sample cifar10 --count 1000000 --output million/ and, for several
    processes, the same command in each, or under accelerate launch -m. A killed run goes on where
    it stopped. Points of two values are drawn as a scatter plot.
    """
    shards = output.endswith("/")
    target = Path(output)
    _check(target, shards, save_tensors, path)
    check_device(device)

    from .. import sharding
    from ..model import load
    from .drawing import Drawing, report

    net = load(model, device=sharding.own_device(device))
    drawing = Drawing(net, labels, guidance, solver, steps, nfe, seed, batch_size, denoise)
    if shards:
        from ..shards import sample_shards

        bad = sample_shards(drawing, target, count, first=first, name=model)
        if sharding.is_main_process():
            typer.echo(f"wrote {target}, samples {first} to {first + count - 1}")
        if bad and sharding.is_main_process():
            typer.echo(f"{bad} of {count} samples unfinished; their status says why", err=True)
        if bad:
            raise typer.Exit(1)
        return
    if first:
        raise ValueError("--first shares out shards; write --output FOLDER/")
    picture = len(net.shape) == 3 or net.shape == (2,)
    if not picture and save_tensors is None:
        raise ValueError(f"shape {net.shape} has no picture; write --save-tensors samples.npy")
    if path is not None and sharding.is_main_process():
        from ..trajectories import draw_path

        shown = min(count, ON_THE_WAY if len(net.shape) == 3 else 1000)
        draw_path(path, drawing.draw(shown, progress=False, alone=True, path=True), net)
        typer.echo(f"wrote {path}")
    solution, elapsed = drawing.timed(count)
    if not sharding.is_main_process():
        return
    report(solution, drawing, elapsed)
    if save_tensors is not None:
        from ..shards import save_samples

        save_samples(save_tensors, solution, drawing)
        typer.echo(f"wrote {save_tensors}")
    if picture:
        from ..pictures import caption, draw_samples

        label = drawing.label_of(0, count)
        words = None if label is None else caption(label, net.class_names)
        draw_samples(target, solution.x, net, columns=columns, captions=words)
        typer.echo(f"wrote {target}")
    if unfinished(solution):
        raise typer.Exit(1)


def _check(output: Path, shards: bool, save_tensors: Path | None, on_the_way: Path | None) -> None:
    from ..files import check_output

    if not shards and not output.suffix and not output.is_dir():
        raise ValueError(
            f"--output {output} has no ending; write {output}.png for a picture, or {output}/ for "
            "shards"
        )
    if not shards and output.is_dir():
        raise ValueError(
            f"--output {output} is a folder; write {output}/ for shards, or a .png file"
        )
    check_output(output, () if shards else (".png",))
    if save_tensors is not None:
        check_output(save_tensors, (".npy", ".safetensors"), option="--save-tensors")
    if on_the_way is not None:
        if shards:
            raise ValueError("--path is of a picture; leave it out for shards")
        check_output(on_the_way, (".png", ".gif"), option="--path")
