"""``scorezoo tune``: solvers fitted to a model, kept beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

import sdesolve as ss

from .. import kernels
from ..data import Data as Examples
from ..data import load_data
from ..model import load, save_reference
from ..recipes import read_recipe, recipe_names
from .likelihood import Data, load_split

__all__ = ["tune"]

SHOWN = 1000
"""Images or points that the reference is made from."""


def tune(
    model: Annotated[str, typer.Argument(help="A folder with a model, or a shipped name.")],
    output: Annotated[Path, typer.Option(help="Folder for the files; use the model's own.")],
    nfe: Annotated[list[int], typer.Option(min=2, help="Budgets; repeat the option.")],
    data: Data = None,
    trajectories: Annotated[int, typer.Option(min=16, help="Trajectories to fit to.")] = 128,
    stochasticity: Annotated[
        float, typer.Option(min=0.0, help="tau of the reverse equation; 0: none, 1: the SDE.")
    ] = 0.0,
    surrogate: Annotated[
        str | None, typer.Option(help="mixture: tune on one fitted to the data, not on the model.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="A fifth of the search.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the trajectories.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, ...")] = "cpu",
) -> None:
    """Fit solvers to a model at some budgets; sampling at these budgets then uses them.

    A network with classes is fitted with every label, and without one, alike.

    Writes what is known of the data (reference.safetensors) and tuned-NFE.pt; with noise instead
    stochastic-TAU-NFE.pt, for ``ss.Tuned.load``.
    """
    if surrogate not in (None, "mixture"):
        raise typer.BadParameter(f"surrogate is mixture, got {surrogate!r}")
    net = load(model, device=device)
    known = _training_data(model, data)
    if known.shape != net.shape:
        raise ValueError(f"the data have shape {known.shape}, the model draws {net.shape}")
    chosen = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))[:SHOWN]
    x = known.batch(chosen, net.data_range).to(device)
    kind = ss.SpectralReference if x.ndim > 2 else ss.GaussianReference
    reference = kind.from_data(x)
    cond = None
    if net.classes and surrogate is None:  # every label and none, in turn: sampling may ask for any
        if trajectories < 4 * (net.classes + 1):  # a quarter of them selects
            raise ValueError(
                f"{net.classes} classes want {4 * (net.classes + 1)} trajectories or more, got "
                f"{trajectories}"
            )
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
        cond=cond,
        progress=True,
    )
    for budget in nfe:
        with kernels.exact():
            tuned = tuner.tune(budget)
        save_reference(output / "reference.safetensors", reference)
        name = f"stochastic-{stochasticity:g}" if stochasticity else "tuned"
        tuned.save(output / f"{name}-{budget}.pt")
        typer.echo(
            f"NFE {budget}: {tuned.choice}; error {tuned.gain:.3g} of the best published method's "
            "on held-out noise"
        )


def _training_data(name: str, data: str | None) -> Examples:
    """What a model was trained on; images of ``data`` where that is given."""
    if data is None and name in recipe_names():
        table = read_recipe(name)["data"]
        if "toy" in table:
            return load_data(table)
    return load_split(name, data, "train")
