"""Where models are: shipped names, folders of models, folders of runs, the Hub; without torch.

A model's folder holds ``config.json``, ``model.safetensors`` and, of a training, ``recipe.toml``
with what it was trained on; a run's folder holds the model's as ``model/``.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .recipes import read_recipe, recipe_names

__all__ = [
    "MODEL_FILES",
    "count_parameters",
    "find_model",
    "guided_budgets",
    "guided_name",
    "pretrained_folder",
    "pretrained_names",
    "read_config",
    "recipe_of",
    "tuned_budgets",
]

MODEL_FILES = (
    "config.json",
    "model.safetensors",
    "reference.safetensors",
    "SHA256SUMS",
    "recipe.toml",
    "tuned-*.json",
    "tuned-*.pt",
    "guided-*.json",
)
WEIGHTS = "write pip install 'sdesolve[zoo]', or pip install ./packaging/weights in a clone"
_TUNED = re.compile(r"tuned-(\d+)\.(?:json|pt)")
_WEIGHT = r"(\d+(?:\.\d+)?)"
_GUIDED = re.compile(rf"guided-{_WEIGHT}(?:-{_WEIGHT})?-(\d+)\.json")


def pretrained_folder() -> Path:
    """Folder of the models that ship: in a clone beside the code, else in ``scorezoo-weights``."""
    beside = Path(__file__).parent / "pretrained"
    if not beside.is_dir() and (found := find_spec("scorezoo_weights")) and found.origin:
        return Path(found.origin).parent / "pretrained"
    return beside


def pretrained_names() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in pretrained_folder().glob("*/config.json"))


def find_model(name: str | Path) -> Path:
    """Folder of a model: of a shipped name, a model's folder, a run's folder or a Hub id.

    A name with one slash is a Hub id only where nothing of that path exists here, not even its
    first half: ``runs/modle`` is a typing error.

    Raises:
        ValueError: If there is no such model; the nearest names are listed.
    """
    text = str(name)
    if text in pretrained_names():
        return pretrained_folder() / text
    path = Path(text)
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    if path.is_dir() and (path / "checkpoint.pt").exists():
        raise ValueError(
            f"the run {text!r} has exported no model yet; let it train a little longer"
        )
    hub = re.fullmatch(r"[\w.-]+/[\w.-]+", text) and not text.startswith(".")
    if hub and not path.exists() and not path.parent.exists():
        return _download(text)
    near = difflib.get_close_matches(text, [*pretrained_names(), *_beside(path)], n=3)
    hint = f": did you mean {' or '.join(near)}?" if near else "."
    if path.is_dir() and text:
        hint = f": that folder holds none. To train on images in it: scorezoo train --data {text}."
    if not pretrained_names():
        hint = f"; the weights are not installed: {WEIGHTS}."
    shipped = ", ".join(pretrained_names()) or "nothing"
    raise ValueError(
        f"no model {text!r}{hint} These ship with the package: {shipped}. The folder of a run or "
        "of a model (config.json and model.safetensors) and a Hub id owner/name also work"
    )


def _beside(path: Path) -> list[str]:
    """Runs and models in the same folder, and in ``runs`` there."""
    places = [p for p in (path.parent, path.parent / "runs") if p.is_dir()]
    try:
        found = [p for place in places for p in place.iterdir() if p.is_dir()]
        return [
            str(p)
            for p in found
            if any((p / f).exists() for f in ("config.json", "model/config.json"))
        ]
    except OSError:
        return []


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(MODEL_FILES)))
    except (OSError, HFValidationError) as error:
        raise ValueError(
            f"no model {hub_id!r}: there is no such folder, and the Hub gave nothing "
            f"({str(error).splitlines()[0]}). Shipped are {', '.join(pretrained_names())}"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model's folder.

    Raises:
        ValueError: If it is not the JSON object that a model's configuration is.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} is not a model's configuration, but {type(config).__name__}")
    return config


def recipe_of(name: str) -> dict[str, Any] | None:
    """What a model was trained with: the recipe beside it, or the shipped one of that name."""
    beside = find_model(name) / "recipe.toml"
    if beside.is_file():
        return read_recipe(str(beside))
    return read_recipe(name) if name in recipe_names() else None


def tuned_budgets(folder: Path) -> dict[int, Path]:
    """Files ``tuned-NFE.json`` by their budget; other names, such as a browser's copies, are not.

    A ``.pt`` file, as older versions wrote, counts where there is no newer one.
    """
    found = {}
    for path in sorted(folder.glob("tuned-*"), key=lambda path: path.suffix, reverse=True):
        if match := _TUNED.fullmatch(path.name):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def guided_name(low: float, high: float) -> str:
    """How files begin of solvers that are fitted to guidance weights from ``low`` to ``high``.

    Examples:
        >>> guided_name(1.0, 3.0), guided_name(2.5, 2.5)
        ('guided-1-3', 'guided-2.5')
    """
    return f"guided-{low:g}" if low == high else f"guided-{low:g}-{high:g}"


def guided_budgets(folder: Path) -> dict[tuple[float, float], dict[int, Path]]:
    """Files ``guided-LOW-HIGH-NFE.json`` by their weights and budget, narrow ranges first."""
    found: dict[tuple[float, float], dict[int, Path]] = {}
    for path in folder.glob("guided-*.json"):
        if match := _GUIDED.fullmatch(path.name):
            low = float(match[1])
            high = low if match[2] is None else float(match[2])
            found.setdefault((low, high), {})[int(match[3])] = path
    ranges = sorted(found, key=lambda ends: (ends[1] - ends[0], ends))
    return {ends: dict(sorted(found[ends].items())) for ends in ranges}


def count_parameters(path: Path) -> int:
    """Values in a safetensors file, read from its header alone."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(size, 100_000_000)))
        return sum(math.prod(v["shape"]) for k, v in header.items() if k != "__metadata__")
    except (OSError, ValueError, struct.error, KeyError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
