"""Recipes: one TOML file for each trained model, with everything that made it."""

from __future__ import annotations

import json
import math
import sys
from importlib import resources
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read_recipe", "recipe_names", "recipe_text", "toml_value", "write_toml"]

_TABLES = ("data", "process", "network", "training")
_OPTIONAL = ("preconditioning", "objective")


def _folder() -> Path:
    return Path(str(resources.files(__name__)))


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def recipe_text(name: str) -> str:
    """Text of a shipped recipe by name, or of a TOML file by path.

    Raises:
        ValueError: If there is none, or it is not text.
    """
    path = _folder() / f"{name}.toml" if name in recipe_names() else Path(name)
    if not path.is_file():
        raise ValueError(
            f"no recipe {name!r}; give a TOML file or one of {', '.join(recipe_names())}"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file: {error}") from error


def read_recipe(name: str) -> dict[str, Any]:
    """Read a shipped recipe by name, or a TOML file by path.

    Raises:
        ValueError: If there is none, it is not TOML, or a table is missing or unknown.
    """
    if not isinstance(name, (str, Path)):
        raise ValueError(f"a recipe has a name or a path, got {name!r}")
    try:
        recipe: dict[str, Any] = tomllib.loads(recipe_text(name))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name} is not TOML: {error}") from error
    known = (*_TABLES, *_OPTIONAL)
    unknown = [table for table in recipe if table not in known]
    if unknown:
        raise ValueError(f"{name} has no place for {', '.join(unknown)}; tables are {known}")
    missing = [table for table in _TABLES if table not in recipe]
    if missing:
        raise ValueError(f"{name} lacks the tables {', '.join(missing)}")
    for table, content in recipe.items():
        if not isinstance(content, dict):
            raise ValueError(f"{name}: [{table}] is a table, got {content!r}")
    return recipe


def write_toml(config: dict[str, Any]) -> str:
    """A recipe as TOML: tables of numbers, strings, truth values and lists.

    Examples:
        >>> print(write_toml({"data": {"range": [-1.0, 1.0], "toy": "moons"}}))
        [data]
        range = [-1.0, 1.0]
        toy = "moons"
        <BLANKLINE>
    """
    tables = [
        "\n".join(
            [f"[{name}]", *(f"{k} = {toml_value(v)}" for k, v in table.items() if v is not None)]
        )
        for name, table in config.items()
    ]
    return "\n\n".join(tables) + "\n"


def toml_value(value: object) -> str:
    """A number, string, truth value or list as TOML writes it."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # JSON's strings, numbers and truth values are TOML's.
    return json.dumps(value, ensure_ascii=True)
