"""The command line: ``scorezoo train | sample | evaluate | likelihood | ... | list``."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import torch
import typer

import sdesolve as ss
from sdesolve.solvers.default import DEFAULT_NFE

from . import sharding
from .commands.classifier import classifier
from .commands.export import export
from .commands.latent import encode, interpolate
from .commands.likelihood import likelihood
from .commands.tune import tune
from .data import load_data, load_images
from .model import ScoreModel, load, pretrained_names
from .pictures import grid, save_png
from .recipes import read_recipe, recipe_names

__all__ = ["app"]

app = typer.Typer(
    help="Train, sample and judge score networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _clear_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn bad input into one line on stderr and exit code 2."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        try:
            with sharding.group():
                command(*args, **kwargs)
        except (ValueError, TypeError, OSError) as error:
            typer.echo(f"scorezoo: {error}", err=True)
            raise typer.Exit(2) from error

    return run


Model = Annotated[str, typer.Argument(help="A shipped name, a folder or a Hub id owner/name.")]
Count = Annotated[int, typer.Option(min=1, help="Number of images.")]
SolverName = Annotated[
    Optional[str],  # noqa: UP045 - typer reads the annotation on Python 3.10
    typer.Option(
        "--solver",
        help="One of: "
        + ", ".join(ss.solver_names())
        + ". By default the best known one for the budget.",
    ),
]
Steps = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(help="Steps of the solver; give this or --nfe."),
]
Nfe = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        help="Budget of network calls per image, never exceeded; each is two with --guidance. "
        f"[default: {DEFAULT_NFE}]"
    ),
]
Seed = Annotated[int, typer.Option(help="Seed; image i depends on (seed, i) alone.")]
Batch = Annotated[int, typer.Option(min=1, help="Images in a chunk; changes memory, not images.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, ...")]
Denoise = Annotated[
    bool, typer.Option(help="End with the expected clean image; one more network call.")
]
Labels = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Classes to draw of, in turn: 0,3,7 or all; by default of the whole data."),
]

Guidance = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        help="Weight of the labels (classifier-free): 1 draws of the class, more prefers what is "
        "typical of it. Two network calls for each that NFE counts."
    ),
]


def _condition(model: ScoreModel, labels: str | None, count: int) -> dict[str, torch.Tensor] | None:
    """Classes of the samples, in turn."""
    if labels is None:
        return None
    if not model.classes:
        raise ValueError("this network was trained without classes; leave --labels out")
    known = range(model.classes)
    try:
        chosen = list(known) if labels == "all" else [int(label) for label in labels.split(",")]
    except ValueError:
        chosen = [-1]
    if not set(chosen) <= set(known):
        raise ValueError(f"labels are all, or some of 0 to {known[-1]} as in 0,1; got {labels!r}")
    return {"label": torch.tensor(chosen)[torch.arange(count) % len(chosen)].to(model.device)}


def _sample(
    model: ScoreModel,
    count: int,
    labels: str | None,
    guidance: float | None,
    solver: str | None,
    steps: int | None,
    nfe: int | None,
    seed: int,
    batch_size: int,
    denoise: bool,
) -> tuple[ss.Solution, float]:
    score = model.score
    if guidance is not None:
        if labels is None:
            raise ValueError("--guidance weighs labels; write --labels all, or 0,3,7")
        score = ss.conditional.classifier_free_guidance(score, guidance)
    start = time.perf_counter()
    solution = sharding.sample(
        model.process,
        score,
        (count, *model.shape),
        solver=None if solver is None else ss.solver(solver),
        steps=steps,
        nfe=nfe,
        seed=seed,
        batch_size=batch_size,
        denoise=denoise,
        cond=_condition(model, labels, count),
        device=model.device,
        progress=sharding.is_main_process(),
    )
    return solution, time.perf_counter() - start


def _images_of(name: str, device: str) -> ScoreModel:
    net = load(name, device=sharding.own_device(device))
    if len(net.shape) != 3:
        raise ValueError(
            f"{name!r} draws points of shape {net.shape}, not images; in Python: "
            "ss.sample(model.process, model.score, (count, *model.shape)).x"
        )
    return net


def _report(
    solution: ss.Solution, solver: str | None, guidance: float | None, seconds: float
) -> None:
    count = len(solution.x)
    steps = (solution.accepted + solution.rejected).double().mean().item()
    nfe = solution.nfe.double().mean().item()
    guided = "" if guidance is None else f" ({2 * nfe:.4g} network calls)"
    typer.echo(
        f"solver {solver or 'default'}, {steps:.4g} steps, NFE {nfe:.4g}{guided} per image, "
        f"{seconds:.2f} s for {count} images ({seconds / count * 1e3:.3g} ms each)"
    )


@app.command()
@_clear_errors
def sample(
    model: Model,
    count: Count = 64,
    output: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("samples.png"),
    labels: Labels = None,
    guidance: Guidance = None,
    solver: SolverName = None,
    steps: Steps = None,
    nfe: Nfe = None,
    seed: Seed = 0,
    batch_size: Batch = 64,
    denoise: Denoise = False,
    device: Device = "cpu",
) -> None:
    """Draw images and write them as one PNG.

    On several GPUs: accelerate launch -m scorezoo sample MODEL --device cuda; the same images.
    """
    net = _images_of(model, device)
    solution, seconds = _sample(
        net, count, labels, guidance, solver, steps, nfe, seed, batch_size, denoise
    )
    if not sharding.is_main_process():
        return
    save_png(output, grid(net.to_pixels(solution.x)))
    _report(solution, solver, guidance, seconds)
    typer.echo(f"wrote {output}")


@app.command()
@_clear_errors
def evaluate(
    model: Model,
    count: Annotated[int, typer.Option(min=2, max=10_000, help="Number of images.")] = 10_000,
    features: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Feature extractor, or a file; by default the one for the images."),
    ] = None,
    labels: Labels = None,
    guidance: Guidance = None,
    solver: SolverName = None,
    steps: Steps = None,
    nfe: Nfe = None,
    seed: Seed = 0,
    batch_size: Batch = 250,
    denoise: Denoise = False,
    device: Device = "cpu",
) -> None:
    """Draw images and print their feature distances beside the floor."""
    from .quality import shipped_reference

    net = _images_of(model, device)
    features, reference = shipped_reference(net.shape, features)
    solution, seconds = _sample(
        net, count, labels, guidance, solver, steps, nfe, seed, batch_size, denoise
    )
    if not sharding.is_main_process():
        return
    mine, floor = reference.judge(net.to_pixels(solution.x).cpu())
    _report(solution, solver, guidance, seconds)
    typer.echo(f"{'':24}{'images':>10}{'floor':>10}")
    typer.echo(f"{'Frechet distance':24}{mine.frechet:10.3f}{floor.frechet:10.3f}")
    typer.echo(f"{'kernel distance x 1000':24}{mine.kernel * 1e3:10.3f}{floor.kernel * 1e3:10.3f}")
    typer.echo(
        f"{count} generated images against 10,000 training images; the floor is {floor.count} "
        f"test images against the same. Features: {features} classifier, comparable only with "
        "figures of the same features and count."
    )


@app.command()
@_clear_errors
def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe or a TOML file.")],
    output: Annotated[Path, typer.Option(help="Folder for checkpoint, log and model.")],
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Hub id or folder to read instead of the recipe's."),
    ] = None,
    mixed_precision: Annotated[str, typer.Option(help="no, bf16 or fp16.")] = "no",
    channels_last: Annotated[
        bool, typer.Option(help="Channels innermost in memory; faster with matrix units.")
    ] = False,
    accumulate: Annotated[
        int, typer.Option(help="Parts of a batch, one after the other, to save memory.")
    ] = 1,
    compile_network: Annotated[bool, typer.Option("--compile", help="torch.compile.")] = False,
    recompute: Annotated[
        bool, typer.Option(help="Activation checkpointing, to save memory.")
    ] = False,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    max_steps: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Stop at this step; the learning rate follows the full plan."),
    ] = None,
) -> None:
    """Train a score network, or go on where a killed run stopped.

    On several devices: accelerate launch -m scorezoo train RECIPE --output FOLDER
    """
    from .training import Compute
    from .training import train as run

    compute = Compute(mixed_precision, channels_last, accumulate, compile_network, recompute)
    config = read_recipe(recipe)
    table = config["data"] if data is None else config["data"] | {"source": data}
    run(
        config,
        load_data(table),
        output,
        compute=compute,
        checkpoint_every=checkpoint_every,
        max_steps=max_steps,
    )
    typer.echo(f"wrote {output / 'model'}; try: scorezoo sample {output / 'model'}")


@app.command()
@_clear_errors
def features(
    data: Annotated[str, typer.Argument(help="Hub id or folder with labelled train and test.")],
    output: Annotated[Path, typer.Option(help="File to write (safetensors).")],
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 6,
    seed: Seed = 0,
) -> None:
    """Train a feature extractor and keep the features of real images beside it."""
    from .quality import Reference, classifier_accuracy, train_classifier

    images, held_out = load_images(data, "train"), load_images(data, "test")
    extractor = train_classifier(images, epochs=epochs, seed=seed, progress=True)
    Reference.of(extractor, images, held_out).save(output)
    typer.echo(f"wrote {output}; test accuracy {classifier_accuracy(extractor, held_out):.2%}")


@app.command()
@_clear_errors
def suggest(
    data: Annotated[str, typer.Argument(help="Hub id or folder.")],
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "train",
    sigma_min: Annotated[
        float, typer.Option(help="Smallest noise level, images in [0, 1].")
    ] = 0.01,
    moves: Annotated[int, typer.Option(min=1, help="Langevin moves at each level.")] = 5,
    exact: Annotated[
        bool, typer.Option(help="Search all pairs for the largest distance, else bound it.")
    ] = True,
) -> None:
    """Print noise levels and step sizes for a data set (Song & Ermon 2020), images in [0, 1]."""
    from . import heuristics

    images = load_images(data, split)
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


@app.command(name="list")
@_clear_errors
def list_models() -> None:
    """List the models and recipes that ship with the package."""
    for name in pretrained_names():
        net = load(name)
        parameters = sum(p.numel() for p in net.parameters())
        shape = "x".join(map(str, net.shape))
        typer.echo(f"{name:20} {shape:>10} {parameters:>12,} parameters  {net.process}")
    typer.echo(f"recipes: {', '.join(recipe_names())}")


for command in (likelihood, encode, interpolate, tune, classifier, export):
    app.command()(_clear_errors(command))
