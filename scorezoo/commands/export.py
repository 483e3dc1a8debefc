"""``scorezoo export``: a model with its weights in half precision, for shipping."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from safetensors.torch import save_file

from ..data import read_tensors, write_atomically

__all__ = ["export"]


def export(
    model: Annotated[Path, typer.Argument(help="Folder with a model, such as RUN/model.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
) -> None:
    """Copy a model with its weights rounded to half precision: half the size on disk.

    It computes in single precision as before; weights beyond 65504 are refused.
    """
    if output.resolve() == model.resolve():
        raise ValueError(f"--output is the model's own folder, {model}; give another")
    config = (model / "config.json").read_text()
    weights = read_tensors(model / "model.safetensors")
    half = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    for name, value in weights.items():
        if not value.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
        if not half[name].isfinite().all():
            raise ValueError(f"{name} holds values that half precision cannot (beyond 65504)")
    path = output / "model.safetensors"
    write_atomically(path, lambda temporary: save_file(half, temporary))
    write_atomically(output / "config.json", lambda temporary: temporary.write_text(config))
    typer.echo(f"wrote {path}, {path.stat().st_size / 1e6:.3g} MB")
