"""``scorezoo suggest``: noise levels and step sizes for a data set."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import SkipCorrupt, Split

__all__ = ["suggest"]


def suggest(
    data: Annotated[str, typer.Argument(help="Hub id or folder.")],
    split: Split = "train",
    sigma_min: Annotated[
        float, typer.Option(min=0.0, help="Smallest noise level, images in [0, 1].")
    ] = 0.01,
    moves: Annotated[int, typer.Option(min=1, help="Langevin moves at each level.")] = 5,
    exact: Annotated[
        bool, typer.Option(help="Search all pairs for the largest distance, else bound it.")
    ] = True,
    skip_corrupt: SkipCorrupt = False,
) -> None:
    """Print noise levels and step sizes that suit a data set.

    Example: scorezoo suggest uoft-cs/cifar10 --no-exact

    By the rules of Song & Ermon 2020, for images in [0, 1].
    """
    if not 0 < sigma_min < 1e3:
        raise ValueError(f"--sigma-min is a positive noise level, got {sigma_min}")

    from .. import heuristics
    from ..data import load_images
    from .run import report_skipped

    images = load_images(data, split, skip_corrupt=skip_corrupt)
    report_skipped(images.skipped)
    points = images.pixels.flatten(1).float() / 255
    low, high = heuristics.distance_bounds(points)
    sigma_max = heuristics.largest_distance(points) if exact else low
    d = points.shape[1]
    gamma = heuristics.geometric_ratio(d)
    levels = heuristics.noise_levels(sigma_max, sigma_min, d)
    step = heuristics.langevin_step(gamma, moves, sigma_min)
    how = "exact" if exact else "a lower bound"
    typer.echo(f"{len(points)} images of {d} values")
    typer.echo(f"sigma_max {sigma_max:.4g} ({how}; between {low:.4g} and {high:.4g} by sampling)")
    typer.echo(f"ratio of levels {gamma:.5g}: {len(levels)} levels down to {sigma_min:g}")
    typer.echo(f"Langevin step {step:.3g} for {moves} moves at each level")
    typer.echo("moving average of the weights 0.999 a step; divide an unconditional net by sigma")
    typer.echo(
        f"process = VESDE(sigma_min={sigma_min:g}, sigma_max={sigma_max:.4g}); solver = "
        f"Annealed(Langevin.ncsn({step:.3g}, {sigma_min:g}, {moves})), steps={len(levels) - 1}"
    )
