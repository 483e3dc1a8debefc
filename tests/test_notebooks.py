"""The notebooks run from top to bottom, and are committed without their outputs."""

import json
import warnings
from pathlib import Path

import pytest

matplotlib = pytest.importorskip("matplotlib")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))


def cells(path):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, monkeypatch, capsys):
    matplotlib.use("Agg")
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)
    names = {"__name__": "notebook"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, cell in enumerate(cells(path)):
            exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)
    for number in pyplot.get_fignums():
        pyplot.figure(number).savefig(tmp_path / f"{number}.png")
        assert pyplot.figure(number).axes[0].has_data()
    pyplot.close("all")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_has_no_outputs(path):
    assert all(not c["outputs"] and c["execution_count"] is None for c in cells(path))
    assert len(path.read_text()) < 20_000


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["first_samples", "likelihood", "tuning"]
