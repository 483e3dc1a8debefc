"""``scorezoo recipe``: a recipe with every key, its default and what it means."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

__all__ = ["recipe"]


def recipe(
    name: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation on Python 3.10
        typer.Argument(
            help="A shipped recipe, a TOML file, or the folder of a run or model.",
            show_default="the one that a folder of 64x64 colour images would get",
        ),
    ] = None,
) -> None:
    """Print a recipe with every key, its default and what it means.

    Example: scorezoo recipe cifar10 > mine.toml; scorezoo train mine.toml --output runs/mine
    """
    import torch

    from ..configuration import TrainingConfig
    from ..data import ImageData
    from ..default_recipe import default_recipe
    from ..folders import recipe_of
    from ..model import PROCESSES
    from ..networks import NETWORKS
    from ..objectives import OBJECTIVES
    from ..recipes import read_recipe, recipe_names

    if name is None:
        images = ImageData(torch.zeros(500, 3, 64, 64, dtype=torch.uint8), torch.full((500,), -1))
        config = default_recipe(images, {"source": "FOLDER_OR_HUB_ID", "holdout": 0.1})
    elif name in recipe_names() or name.endswith(".toml"):
        config = read_recipe(name)
    else:
        try:
            found = recipe_of(name)
        except ValueError:
            found = None
        if found is None:
            raise ValueError(
                f"no recipe {name!r}: shipped are {', '.join(recipe_names())}; a TOML file and the "
                "folder of a run also work"
            )
        config = found
    kinds: dict[str, dict[str, Any]] = {
        "process": PROCESSES,
        "network": NETWORKS,
        "objective": OBJECTIVES,
    }
    config = config | {
        "objective": config.get("objective", {"name": "denoising"}),
        "preconditioning": config.get("preconditioning", {"name": "noise"}),
    }
    for table in ("data", "process", "network", "preconditioning", "objective", "training"):
        typer.echo(f"[{table}]")
        if table in ("data", "preconditioning"):
            _table(config[table], _DATA if table == "data" else _PRECONDITIONING)
        elif table == "training":
            _table(config[table], _documented(TrainingConfig))
        else:
            kind = kinds[table][config[table]["name"]]
            named = [("name", None, f"one of {', '.join(sorted(kinds[table]))}")]
            _table(config[table], named + _documented(kind))
        typer.echo("")


_DATA: list[tuple[str, object, str]] = [
    ("source", None, "Hub id or folder of images; or toy = the name of a toy density"),
    ("split", "train", "split to train on"),
    ("holdout", 0.0, "fraction of a folder without a test split that is kept for judging"),
    ("range", [0.0, 1.0], "the values that pixel 0 and pixel 255 have in the data"),
    ("toy", None, "name of a toy density, instead of source"),
    ("points", 200_000, "points drawn from a toy density"),
]
_PRECONDITIONING: list[tuple[str, object, str]] = [
    ("name", None, "noise, data, velocity, score, sigma, edm or energy: what the output means"),
    ("sigma_data", None, "root mean square of the data, in their units; measured if absent"),
]


def _documented(kind: Any) -> list[tuple[str, object, str]]:  # noqa: ANN401
    from ..arguments import documented

    return documented(kind)


def _table(given: dict[str, Any], keys: list[tuple[str, object, str]]) -> None:
    """Print a table: what is set, and what is not as comments."""
    from ..recipes import toml_value

    known = [key for key, _, _ in keys]
    for key, default, text in keys:
        about = f"  # {text.rstrip('.')}" if text else ""
        if key in given:
            typer.echo(f"{key} = {toml_value(given[key])}{about}")
        elif default is None:
            typer.echo(f"# {key} ={about.replace('  #', ' (not set)', 1)}")
        else:
            typer.echo(f"# {key} = {toml_value(default)}{about}")
    for key in given:
        if key not in known:
            typer.echo(f"{key} = {toml_value(given[key])}")
