"""Recipes: one TOML file for each trained model, with everything that made it."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read_recipe", "recipe_names"]

_TABLES = ("data", "process", "network", "training")


def _folder() -> Path:
    return Path(str(resources.files(__name__)))


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def read_recipe(name: str) -> dict[str, Any]:
    """Read a shipped recipe by name, or a TOML file by path.

    Raises:
        ValueError: If there is none, it is not TOML, or a table is missing.
    """
    path = _folder() / f"{name}.toml" if name in recipe_names() else Path(name)
    if not path.is_file():
        raise ValueError(
            f"no recipe {name!r}; give a TOML file or one of {', '.join(recipe_names())}"
        )
    try:
        recipe: dict[str, Any] = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    missing = [table for table in _TABLES if table not in recipe]
    if missing:
        raise ValueError(f"{path} lacks the tables {', '.join(missing)}")
    return recipe
