"""The command line: ``scorezoo train | sample | evaluate | likelihood | ... | list``."""

from __future__ import annotations

import typer

from .commands.classifier import classifier
from .commands.colorize import colorize
from .commands.encode import encode
from .commands.evaluate import evaluate
from .commands.export import export
from .commands.features import features
from .commands.inpaint import inpaint
from .commands.interpolate import interpolate
from .commands.likelihood import likelihood
from .commands.list import list_models
from .commands.play import play
from .commands.recipe import recipe
from .commands.restore import restore
from .commands.run import command
from .commands.sample import sample
from .commands.solvers import solvers
from .commands.suggest import suggest
from .commands.train import train
from .commands.tune import tune

__all__ = ["app"]

app = typer.Typer(
    help="Train, sample and judge score networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

for function in (
    sample,
    evaluate,
    train,
    recipe,
    likelihood,
    encode,
    interpolate,
    inpaint,
    colorize,
    restore,
    play,
    tune,
    features,
    classifier,
    export,
    suggest,
    solvers,
):
    app.command()(command(function))
app.command(name="list")(command(list_models))
