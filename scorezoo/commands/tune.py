"""``scorezoo tune``: solvers fitted to a model, kept beside its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from .options import Data, Device, Model, SkipCorrupt
from .run import check_device, images_of, seconds

if TYPE_CHECKING:
    from torch import Tensor

    from sdesolve.scores import Score

    from ..data import Data as Examples
    from ..model import ScoreModel

__all__ = ["tune"]

FINE_SETS, FINE_CALLS, FIT_CALLS = 5, 192, 128
"""The tuner solves the trajectories and four times as many by this many calls before any trial; in
the mean by fewer where half of them are for a joint fit with noise."""

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
    loss: Annotated[
        str,
        typer.Option(
            help="What the joint fit minimises: rmse, huber, or features, a distance of what the "
            "shipped extractor sees; the choice then goes by it too."
        ),
    ] = "rmse",
    guidance: Annotated[
        Optional[list[float]],  # noqa: UP045
        typer.Option(
            min=0.0,
            max=1000.0,
            help="Guidance scale to fit for; give it twice for the ends of a range.",
            show_default="no guidance",
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

    Guided sampling is another task: scorezoo tune runs/mine --nfe 5 --guidance 1 --guidance 3
    fits one solver to all labels and to weights from 1 to 3, which sampling with such a
    --guidance uses.

    Writes what is known of the data (reference.safetensors) and tuned-NFE.json; with guidance
    instead guided-LOW-HIGH-NFE.json; with noise instead stochastic-TAU-NFE.json, for
    ss.Tuned.load. Cut off, the same command goes on: budgets that are done, and how far a joint
    fit had come, are kept in $XDG_CACHE_HOME/sdesolve.
    """
    from ..files import check_output
    from ..folders import find_model, guided_name

    if surrogate not in (None, "mixture"):
        raise ValueError(f"--surrogate is mixture, got {surrogate!r}")
    if loss not in ("rmse", "huber", "features"):
        raise ValueError(f"--loss is rmse, huber or features, got {loss!r}")
    if loss != "rmse" and minutes is None:
        raise ValueError(f"--loss {loss} is for the joint fit; write --minutes 5 beside it")
    ends = _ends(guidance, stochasticity, surrogate)
    output = find_model(model) if output is None else output
    check_output(output)
    check_device(device)

    import torch

    import sdesolve as ss

    from .. import kernels
    from ..feature_loss import feature_loss
    from ..files import write_atomically
    from ..guidance import weights_between
    from ..model import load, save_reference

    net = load(model, device=device)
    score: Score = net.score
    if ends is not None:
        if not net.classes:
            raise ValueError(f"--guidance weighs labels; {model!r} was trained without classes")
        score = ss.conditional.classifier_free_guidance(score, "guidance")
    fitted_by: Any = feature_loss(net) if loss == "features" else loss
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
    row = torch.arange(trajectories)
    if ends is not None:  # guided sampling has a label
        weights = weights_between(*ends, trajectories)
        cond = {"label": (row % net.classes).to(device), "guidance": weights.to(device)}
    elif net.classes and surrogate is None:  # every label and none: sampling may ask for any
        cond = {"label": (row % (net.classes + 1) - 1).to(device)}
    tuner = ss.Tuner(
        net.process,
        score,
        x,
        reference=reference,
        stochasticity=stochasticity,
        surrogate="mixture" if surrogate else None,
        trajectories=trajectories,
        seed=seed,
        quick=quick,
        minutes=minutes,
        loss=fitted_by,
        cond=cond,
        cache=True,  # a run that was cut off goes on with the budget that it was at
        progress=True,
    )
    if surrogate is None:
        count, calls = FINE_SETS * trajectories, FINE_CALLS * FINE_SETS
        if stochasticity:  # the truth, and another one for the fit, unless there are data enough
            count = (8 if quick else 16) * trajectories * (1 if minutes is None else 2)
            calls = count // trajectories * (FINE_CALLS if minutes is None else FIT_CALLS)
        if stochasticity == 0 or cond is not None or len(x) < count:
            _estimate(net, score, count, calls, trajectories, cond)
    for budget in nfe:
        with kernels.exact():
            tuned = tuner.tune(budget)
        if loss == "features":
            tuned = replace(tuned, fitted_on={**tuned.fitted_on, "loss": repr(fitted_by)})
        if ends is None or not (output / "reference.safetensors").exists():
            save_reference(output / "reference.safetensors", reference)
        name = f"stochastic-{stochasticity:g}" if stochasticity else "tuned"
        name = name if ends is None else guided_name(*ends)
        write_atomically(output / f"{name}-{budget}.json", tuned.save)
        typer.echo(
            f"NFE {budget}: {tuned.choice}; error {tuned.gain:.3g} of the best published method's "
            "on held-out noise"
        )


def _ends(
    guidance: list[float] | None, stochasticity: float, surrogate: str | None
) -> tuple[float, float] | None:
    """Range of the weights, which names of files have to three decimals."""
    if not guidance:
        return None
    if len(guidance) > 2:
        raise ValueError(
            f"--guidance is a weight, or twice for the ends of a range, got {len(guidance)} times"
        )
    if stochasticity or surrogate:
        option = "--stochasticity" if stochasticity else "--surrogate"
        raise ValueError(f"--guidance is fitted to the model's own paths; leave out {option}")
    low, high = min(guidance), max(guidance)
    return round(low, 3), round(high, 3)


def _estimate(
    net: ScoreModel,
    score: Score,
    count: int,
    calls: int,
    trajectories: int,
    cond: dict[str, Tensor] | None,
) -> None:
    """Say how long the fine solutions take, which come before the first trial, by one call."""
    import time

    import torch

    x = torch.zeros(trajectories, *net.shape, device=net.device)
    t = torch.full((trajectories,), net.process.T, device=net.device)
    with torch.no_grad():
        score(x[:1], t[:1], **{name: value[:1] for name, value in (cond or {}).items()})
        start = time.perf_counter()
        score(x, t, **(cond or {}))[0].sum().item()
    each = time.perf_counter() - start
    typer.echo(
        f"fine solutions of {count} trajectories come first: about {seconds(each * calls)}; then "
        "trials at each budget"
    )


def _training_data(name: str, data: str | None, skip_corrupt: bool) -> Examples:
    """What a model was trained on; images of ``data`` where that is given."""
    from ..data import load_data
    from ..folders import recipe_of

    recipe = recipe_of(name) if data is None else None
    if recipe is not None and "toy" in recipe["data"]:
        return load_data(recipe["data"])
    return images_of(name, data, "train", skip_corrupt)
