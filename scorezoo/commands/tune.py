"""``scorezoo tune``: solvers fitted to a model, kept beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .options import Data, Device, Model, SkipCorrupt
from .run import check_device, images_of, seconds

if TYPE_CHECKING:
    from torch import Tensor

    from ..data import Data as Examples
    from ..model import ScoreModel

__all__ = ["tune"]

FINE_SETS, FINE_CALLS = 5, 192
"""The tuner solves the trajectories and four times as many by this many calls before any trial."""

SHOWN = 1000
"""Images or points that the reference is made from."""


def tune(
    model: Model,
    nfe: Annotated[
        list[int],
        typer.Option(min=2, help="Budget in network calls; repeat the option for several."),
    ],
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation on Python 3.10
        typer.Option(help="Folder for the files.", show_default="the model's own"),
    ] = None,
    data: Data = None,
    trajectories: Annotated[int, typer.Option(min=16, help="Trajectories to fit to.")] = 128,
    stochasticity: Annotated[
        float, typer.Option(min=0.0, help="tau of the reverse equation; 0: none, 1: the SDE.")
    ] = 0.0,
    surrogate: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="mixture: tune on a mixture fitted to the data.", show_default="the model itself"
        ),
    ] = None,
    quick: Annotated[bool, typer.Option(help="A fifth of the search.")] = False,
    minutes: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0.1,
            help="Time for a joint fit by gradients at each budget, after a short search.",
            show_default="the search alone",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the trajectories.")] = 0,
    skip_corrupt: SkipCorrupt = False,
    device: Device = "cpu",
) -> None:
    """Fit solvers to a model, each to a budget of network calls.

    Example: scorezoo tune runs/mine --nfe 10 --nfe 20

    Sampling at these budgets then uses them. A network with classes is tuned on all
    labels and on unconditional sampling equally.

    Writes what is known of the data (reference.safetensors) and tuned-NFE.json; with noise
    instead stochastic-TAU-NFE.json, for ss.Tuned.load. Cut off, the same command goes on: budgets
    that are done are kept in $XDG_CACHE_HOME/sdesolve and found again.
    """
    from ..files import check_output
    from ..folders import find_model

    if surrogate not in (None, "mixture"):
        raise ValueError(f"--surrogate is mixture, got {surrogate!r}")
    output = find_model(model) if output is None else output
    check_output(output)
    check_device(device)

    import torch

    import sdesolve as ss

    from .. import kernels
    from ..files import write_atomically
    from ..model import load, save_reference

    net = load(model, device=device)
    if net.classes and surrogate is None and trajectories < 4 * (net.classes + 1):
        raise ValueError(
            f"{net.classes} classes want {4 * (net.classes + 1)} trajectories or more, got "
            f"{trajectories}"
        )
    known = _training_data(model, data, skip_corrupt)
    if known.shape != net.shape:
        raise ValueError(f"the data have shape {known.shape}, the model draws {net.shape}")
    chosen = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))[:SHOWN]
    x = known.batch(chosen, net.data_range).to(device)
    kind = ss.SpectralReference if x.ndim > 2 else ss.GaussianReference
    reference = kind.from_data(x)
    cond = None
    if net.classes and surrogate is None:  # every label and none, in turn: sampling may ask for any
        cond = {"label": (torch.arange(trajectories) % (net.classes + 1) - 1).to(device)}
    tuner = ss.Tuner(
        net.process,
        net.score,
        x,
        reference=reference,
        stochasticity=stochasticity,
        surrogate="mixture" if surrogate else None,
        trajectories=trajectories,
        seed=seed,
        quick=quick,
        minutes=minutes,
        cond=cond,
        cache=True,  # a run that was cut off goes on with the budget that it was at
        progress=True,
    )
    if surrogate is None:
        _estimate(net, trajectories, cond)
    for budget in nfe:
        with kernels.exact():
            tuned = tuner.tune(budget)
        save_reference(output / "reference.safetensors", reference)
        name = f"stochastic-{stochasticity:g}" if stochasticity else "tuned"
        write_atomically(output / f"{name}-{budget}.json", tuned.save)
        typer.echo(
            f"NFE {budget}: {tuned.choice}; error {tuned.gain:.3g} of the best published method's "
            "on held-out noise"
        )


def _estimate(net: ScoreModel, trajectories: int, cond: dict[str, Tensor] | None) -> None:
    """Say how long the fine solutions take, which come before the first trial, by one call."""
    import time

    import torch

    x = torch.zeros(trajectories, *net.shape, device=net.device)
    t = torch.full((trajectories,), net.process.T, device=net.device)
    with torch.no_grad():
        net.score(x[:1], t[:1], **{name: value[:1] for name, value in (cond or {}).items()})
        start = time.perf_counter()
        net.score(x, t, **(cond or {}))[0].sum().item()
    each = time.perf_counter() - start
    typer.echo(
        f"fine solutions of {FINE_SETS * trajectories} trajectories come first: about "
        f"{seconds(each * FINE_SETS * FINE_CALLS)}; then trials at each budget"
    )


def _training_data(name: str, data: str | None, skip_corrupt: bool) -> Examples:
    """What a model was trained on; images of ``data`` where that is given."""
    from ..data import load_data
    from ..folders import recipe_of

    recipe = recipe_of(name) if data is None else None
    if recipe is not None and "toy" in recipe["data"]:
        return load_data(recipe["data"])
    return images_of(name, data, "train", skip_corrupt)
