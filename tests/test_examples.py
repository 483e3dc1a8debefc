"""The examples run, and the demonstrations show what they say, those that train in a few steps."""

import re
import runpy
from pathlib import Path

import pytest
import torch

from sdesolve.solvers import registry

EXAMPLES = Path(__file__).parents[1] / "examples"
TALKS = {  # what each script says at its end, or near it
    "own_function": "nothing looks wrong",
    "diffusers_network": "images (4, 3, 8, 8)",
    "diffusers_pipeline": "largest difference",
    "edm_network": "class 1: mean",
    "flow_network": "log p",
    "image_to_image": "edited: class [1, 1]",
    "likelihood": "bits/dim",
    "own_solver": "Ralston(), 20 steps",
}


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", list(TALKS))
def test_examples_run(name, capsys, monkeypatch):
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    if "diffusers" in name:
        pytest.importorskip("diffusers")
    file = EXAMPLES / f"{name}.py"
    assert len(file.read_text().splitlines()) < 40
    with torch.random.fork_rng():
        runpy.run_path(str(file), run_name="__main__")
    said = capsys.readouterr().out
    assert TALKS[name] in said
    numbers = [
        float(n) for n in re.findall(r"(?:difference|distance|off by) (-?[\d.e+-]+\d)", said)
    ]
    assert all(abs(n) < 0.3 for n in numbers)


PITFALLS = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "pitfalls.py"))


@pytest.mark.parametrize("name", ["manifold", "thin", "annealing"])
def test_demonstrations_write_their_figure(name, tmp_path):
    numbers = PITFALLS[name](tmp_path, steps=3)
    assert all(value == value for value in numbers.values())
    assert (tmp_path / f"pitfall_{name}.png").stat().st_size > 5000


def test_langevin_is_blind_to_weights_and_annealing_is_not(tmp_path):
    numbers = PITFALLS["blind"](tmp_path, moves=200)
    begun = numbers["of starting points nearer to it"]
    assert numbers["by Langevin"] == pytest.approx(begun, abs=0.06)
    assert numbers["by Metropolis-adjusted Langevin"] == pytest.approx(begun, abs=0.06)
    assert numbers["by annealed Langevin"] == pytest.approx(0.2, abs=0.06)
    assert begun > 0.45
