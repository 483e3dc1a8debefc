"""``scorezoo train``: from a recipe, or from a folder of images alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from .options import Data, SkipCorrupt
from .run import check_device, report_skipped, seconds

if TYPE_CHECKING:
    from ..data import Data as Examples
    from ..model import ScoreModel

__all__ = ["train"]


def train(
    recipe: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation on Python 3.10
        typer.Argument(
            help="A shipped recipe or a TOML file; scorezoo recipe prints one.",
            show_default="one that fits the data",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Folder of the run: checkpoint, log, model, samples.")
    ] = Path("runs/mine"),
    data: Data = None,
    batch_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            help="Images in a step, over all processes.",
            show_default="the recipe's, or at most 32 (64 on a GPU)",
        ),
    ] = None,
    steps: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            help="Steps of the optimiser.",
            show_default="the recipe's, or 6000 (20000 on a GPU)",
        ),
    ] = None,
    minutes: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0.1,
            help="Instead of --steps: as many as fit, by the speed measured at the start.",
            show_default="no limit",
        ),
    ] = None,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=0, help="Seed of weights, order and noise.", show_default="the recipe's, or 0"
        ),
    ] = None,
    network: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Without a recipe: edm-unet, unet or ncsnpp.", show_default="by the image size"
        ),
    ] = None,
    classes: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--classes/--no-classes",
            help="Without a recipe: learn the labels.",
            show_default="if every image has one",
        ),
    ] = None,
    flip: Annotated[
        bool,
        typer.Option(
            help="Without a recipe: mirror images at random; for images whose mirror image is one."
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(help="auto (a GPU where there is one), cpu, cuda or mps.")
    ] = "auto",
    mixed_precision: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="no, bf16 or fp16.",
            show_default="no; without a recipe bf16 where the device computes it in hardware",
        ),
    ] = None,
    channels_last: Annotated[
        bool, typer.Option(help="Channels innermost in memory; faster with matrix units.")
    ] = False,
    accumulate: Annotated[
        int,
        typer.Option(min=1, help="Parts of a batch, one after the other, to save memory."),
    ] = 1,
    compile_network: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile with torch.compile.")
    ] = False,
    recompute: Annotated[
        bool, typer.Option(help="Activation checkpointing, to save memory.")
    ] = False,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    look_every: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=0,
            help="Steps between looks, samples with a quick figure of quality; 0: none.",
            show_default="a twentieth of the time",
        ),
    ] = None,
    max_steps: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            help="Stop early at this step; the learning rate follows the full plan.",
            show_default="the plan's end",
        ),
    ] = None,
    skip_corrupt: SkipCorrupt = False,
) -> None:
    """Train a score network, or go on where a killed run stopped.

    Example: scorezoo train --data photos/ --output runs/mine --minutes 20

    Without a recipe one is made that fits the images and is written to the run's folder; a tenth of
    a folder without a test split is held out. On several devices: accelerate launch -m scorezoo
    train RECIPE --output FOLDER
    """
    from ..files import check_output
    from ..recipes import recipe_names

    check_output(output)
    if steps is not None and minutes is not None:
        raise ValueError("give --steps or --minutes, one of the two")
    if device not in ("auto", "cpu", "cuda", "mps"):
        raise ValueError(f"--device {device}: train takes auto, cpu, cuda or mps")
    if device != "auto":
        check_device(device)
    if recipe is not None and Path(recipe).is_dir() and recipe not in recipe_names():
        go_on = (Path(recipe) / "recipe.toml").is_file()
        raise ValueError(
            f"a recipe is a file, and {recipe} a folder; write "
            f"{'--output' if go_on else '--data'} {recipe}"
            f"{' to go on with that run' if go_on else ' to train on its images'}"
        )
    made = output / "recipe.toml"
    if recipe is None and data is None and not made.is_file():
        raise ValueError(
            "nothing says what to train on; write --data FOLDER, or a recipe: scorezoo list"
        )

    from ..configuration import Compute, plan_of
    from ..data import load_data
    from ..recipes import read_recipe
    from ..sharding import is_main_process
    from ..training import train as run
    from ..watching import Watch, draw_curve, last_look, steps_done

    if mixed_precision is None:
        mixed_precision = "no" if recipe is not None else _precision(device)
    compute = Compute(
        mixed_precision,
        channels_last,
        accumulate,
        compile_network,
        recompute,
        "cpu" if device == "cpu" else "auto",
    )
    options = {"batch_size": batch_size, "steps": steps, "seed": seed}
    if recipe is None and made.is_file():  # the same command again
        recipe = str(made)
    if recipe is not None:
        own = network is not None or classes is not None or flip
        if own and recipe != str(made):
            typer.echo(f"--network, --classes and --flip are {recipe}'s own", err=True)
        config = read_recipe(recipe)
        if data is not None and data != config["data"].get("source") and recipe != str(made):
            kept = {k: v for k, v in config["data"].items() if k not in ("fingerprint", "classes")}
            config["data"] = kept | {"source": data}
        config["training"] |= {key: value for key, value in options.items() if value is not None}
        if steps is not None:
            config["training"].pop("epochs", None)
        plan_of(config)
        examples = load_data(config["data"], skip_corrupt=skip_corrupt)
    else:
        assert data is not None
        config, examples = _adapted(
            data, options, network, classes, flip, compute.device, skip_corrupt
        )
    report_skipped(getattr(examples, "skipped", ()))
    if minutes is not None and not made.is_file():
        _fit(config, examples, minutes, compute)
    if is_main_process():
        _say(config, examples)
    plan = plan_of(config)
    total = plan.steps or (plan.epochs or 0) * (len(examples) // plan.batch_size)
    done = steps_done(output)
    model = run(
        config,
        examples,
        output,
        compute=compute,
        checkpoint_every=checkpoint_every,
        log_every=50 if total >= 5000 else max(1, total // 100),
        max_steps=max_steps,
        watch=None if look_every == 0 else Watch(examples, look_every),
    )
    if not is_main_process():
        return
    if not (output / "samples.png").exists():
        _show(model, output / "samples.png")
    draw_curve(output)
    typer.echo(f"wrote {output / 'model'}, {output / 'samples.png'} and {output / 'curve.png'}")
    if found := last_look(output):
        typer.echo(found)
    if max_steps is not None and max_steps < total:
        typer.echo(f"stopped at step {max_steps} of {total}; the same command goes on")
    elif done >= total:
        typer.echo(f"all {total} steps were done before")
    typer.echo(f"try: scorezoo sample {output}")
    if max_steps is None:
        typer.echo(f"better ones: scorezoo train --output {output} --steps {3 * total}")


def _precision(device: str) -> str:
    import torch

    from ..kernels import fastest_precision

    if device in ("auto", "cuda") and torch.cuda.is_available():
        return fastest_precision(torch.device("cuda"))
    return fastest_precision(torch.device("cpu")) if device in ("auto", "cpu") else "no"


def _adapted(
    data: str,
    options: dict[str, int | None],
    network: str | None,
    classes: bool | None,
    flip: bool,
    device: str,
    skip_corrupt: bool,
) -> tuple[dict[str, Any], Examples]:
    """A recipe for a data set without one."""
    import torch

    from ..data import load_data, split_names
    from ..default_recipe import default_recipe

    source = str(Path(data).expanduser().resolve()) if Path(data).expanduser().exists() else data
    table: dict[str, Any] = {"source": source}
    examples = load_data(table, skip_corrupt=skip_corrupt)
    if "test" not in split_names(source) and len(examples) >= 20:
        table["holdout"] = 0.1
        examples = load_data(table, skip_corrupt=skip_corrupt)
    kind = "cpu" if device == "cpu" or not torch.cuda.is_available() else "cuda"
    config = default_recipe(
        examples,
        table,
        batch_size=options["batch_size"],
        steps=options["steps"],
        seed=options["seed"] or 0,
        network=network,
        classes=classes,
        flip=flip,
        device=kind,
    )
    return config, examples


def _fit(config: dict[str, Any], data: Examples, minutes: float, compute: Any) -> None:  # noqa: ANN401
    """Set the steps that fit into a time, by a run of a few steps."""
    import json
    from tempfile import TemporaryDirectory

    from ..training import train as run

    trial = config | {"training": config["training"] | {"steps": 9}}
    trial["training"].pop("epochs", None)
    with TemporaryDirectory() as folder:
        run(trial, data, Path(folder), compute=compute, log_every=3, progress=False)
        *_, last = (Path(folder) / "loss.jsonl").read_text().splitlines()
    each = config["training"].get("batch_size", 64) / json.loads(last)["images_per_second"]
    steps = max(1, int(60 * minutes / each))
    config["training"].pop("epochs", None)
    config["training"] |= {"steps": steps}
    config["training"]["warmup_steps"] = min(
        config["training"].get("warmup_steps", 0), max(1, steps // 10)
    )
    typer.echo(f"{seconds(each)} a step: {steps} steps in {minutes:g} minutes")


def _say(config: dict[str, Any], data: Examples) -> None:
    plan, network = config["training"], config["network"]
    shape = "x".join(map(str, data.shape))
    held = f" ({config['data']['holdout']:.0%} held out)" if config["data"].get("holdout") else ""
    labels = f", {network['classes']} classes" if network.get("classes") else ""
    long = f"{plan['steps']} steps" if plan.get("steps") else f"{plan['epochs']} epochs"
    typer.echo(
        f"{len(data)} examples of {shape}{held}{labels}: {network['name']}, {long} of "
        f"{plan.get('batch_size', 64)}"
    )


def _show(model: ScoreModel, path: Path) -> None:
    """A few samples of the averaged weights."""
    from ..pictures import caption, draw_samples
    from .drawing import Drawing

    if len(model.shape) != 3 and model.shape != (2,):
        return
    count = 16 if len(model.shape) == 3 else 1000
    drawing = Drawing(model, "all" if model.classes else None)
    x = drawing.draw(count, progress=False, alone=True).x
    label = drawing.label_of(0, count)
    words = None if label is None else caption(label, model.class_names)
    draw_samples(path, x, model, captions=words)
