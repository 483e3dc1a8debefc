"""``scorezoo export``: a model with its weights in half precision, for shipping."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .options import Model

__all__ = ["export"]


def export(
    model: Model,
    output: Annotated[Path, typer.Option(help="Folder to write.")],
) -> None:
    """Copy a model with its weights in half precision.

    Example: scorezoo export runs/mine --output shipped/mine

    That is half the size on disk. It computes in single precision as before; weights
    beyond 65504 are refused.
    """
    from ..checksums import recorded
    from ..files import check_output, read_tensors, write_atomically, write_tensors
    from ..folders import find_model, guided_budgets, tuned_budgets

    check_output(output)
    folder = find_model(model)
    if output.resolve() == folder.resolve():
        raise ValueError(f"--output is the model's own folder, {folder}; give another")
    weights = read_tensors(folder / "model.safetensors")
    half = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    for name, value in weights.items():
        if not value.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
        if not half[name].isfinite().all():
            raise ValueError(f"{name} holds values that half precision cannot (beyond 65504)")
    path = output / "model.safetensors"
    output.mkdir(parents=True, exist_ok=True)
    with recorded(path):
        write_tensors(path, half)
    beside = [folder / name for name in ("config.json", "recipe.toml", "README.md")]
    for files in (tuned_budgets(folder), *guided_budgets(folder).values()):
        beside += files.values()
    for file in beside:
        if file.is_file():
            write_atomically(output / file.name, partial(shutil.copyfile, file))
    if (folder / "reference.safetensors").is_file():
        known = read_tensors(folder / "reference.safetensors")
        write_tensors(output / "reference.safetensors", known)
    typer.echo(f"wrote {path}, {path.stat().st_size / 1e6:.3g} MB")
