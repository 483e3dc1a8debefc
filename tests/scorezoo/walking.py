"""What walks over the commands share: folders made on the spot, and calls that end well or not."""

import os

import numpy as np
from accelerate.state import AcceleratorState
from PIL import Image
from typer.testing import CliRunner

from scorezoo.cli import app

__all__ = ["folder", "ok", "refused"]


def folder(name, count, mode="RGB", size=(16, 16), classes=0):
    rng = np.random.default_rng(0)
    for i in range(count):
        array = rng.integers(0, 256, (*size[::-1], len(mode)), dtype=np.uint8).squeeze()
        image = Image.fromarray(array)
        path = f"{name}/train/{f'class{i % classes}/' if classes else ''}{i}.png"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        image.save(path)
    return name


def ok(*arguments, code=0):
    AcceleratorState._reset_state(reset_partial_state=True)  # as in a process of its own
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def refused(message, *arguments):
    result = ok(*arguments, code=2)
    assert message in result.stderr
    ours = result.stderr.startswith("scorezoo: ")
    assert ours == (len(result.stderr.splitlines()) == 1)  # else it is typer's own box
