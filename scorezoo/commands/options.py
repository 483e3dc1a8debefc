"""Options that several commands share: one name, one help, one default for one thing."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

__all__ = [
    "BATCH_SIZE",
    "TOLERANCE",
    "BatchSize",
    "Data",
    "Denoise",
    "Device",
    "Guidance",
    "Labels",
    "Model",
    "Nfe",
    "Seed",
    "SkipCorrupt",
    "SolverName",
    "Split",
    "Steps",
    "Tolerance",
]

BATCH_SIZE = 64
TOLERANCE = 1e-5

# typer reads the annotations on Python 3.10, which has no X | None for it.
Model = Annotated[
    str,
    typer.Argument(help="A shipped name, the folder of a run or of a model, or a Hub id."),
]
Data = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Hub id or folder of images.", show_default="what the model was trained on"),
]
Split = Annotated[
    str,
    typer.Option(help="Split of the data; test is the held-out part where a recipe holds one out."),
]
SolverName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--solver",
        help="Name of a solver; scorezoo solvers lists them.",
        show_default="the best known one for the budget",
    ),
]
Steps = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        min=1,
        help="Steps of the solver; give this or --nfe.",
        show_default="as --nfe allows",
    ),
]
Nfe = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        min=1,
        help="Budget of network calls per sample, never exceeded; each is two with --guidance.",
        show_default="20",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed; sample i depends on (seed, i) alone.")]
BatchSize = Annotated[
    int, typer.Option(min=1, help="Samples computed at once: changes memory, not the samples.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, ...")]
Denoise = Annotated[
    bool, typer.Option(help="End with the expected clean sample; one of the network calls.")
]
Labels = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="Classes to sample, in turn: numbers or names as in 0,3 or cat,dog, or all.",
        show_default="unconditional",
    ),
]
Guidance = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        help="Guidance scale: 1 is plain conditional sampling, larger prefers what is typical. "
        "Each counted call costs two.",
        show_default="none",
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        min=1e-9, max=1.0, help="Relative and absolute error tolerance of a step; no unit."
    ),
]
SkipCorrupt = Annotated[
    bool, typer.Option(help="Leave out images that cannot be decoded, and count them.")
]
