"""The examples run, say what they found, and draw the pictures of the gallery."""

import itertools
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

import sdesolve as ss
from sdesolve.solvers import registry

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGE = (EXAMPLES.parent / "docs" / "gallery.md").read_text()
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


GALLERY = runpy.run_path(str(EXAMPLES / "gallery.py"))["SCRIPTS"]


@pytest.mark.parametrize("name", GALLERY)
def test_the_pictures_of_the_gallery_are_drawn_by_scripts(name, tmp_path, monkeypatch, capsys):
    picture = tmp_path / f"{name}.png"
    monkeypatch.setattr(sys, "argv", [name, "--output", str(picture)])
    sample = ss.sample

    def few(process, score, shape, **options):  # the same pictures, of fewer calls
        if "solver" not in options:
            options["nfe"] = min(options["nfe"], 6)
        return sample(process, score, shape, **options)

    monkeypatch.setattr(ss, "sample", few)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert capsys.readouterr().out and picture.stat().st_size > 5000
    assert f"(gallery/{name}.png)" in PAGE and f"`python examples/{name}.py`" in PAGE


def test_every_example_is_short_and_helps_where_it_takes_something(monkeypatch, capsys):
    for file in EXAMPLES.glob("*.py"):
        text = file.read_text()
        assert len(text.splitlines()) < 40, file.name
        assert file.stem in {*TALKS, *GALLERY, "gallery", "latent_sde"}, file.name
        if "argparse" not in text:
            continue
        monkeypatch.setattr(sys, "argv", [file.name, "--help"])
        with pytest.raises(SystemExit, match="0"):
            runpy.run_path(str(file), run_name="__main__")
        assert "--output" in capsys.readouterr().out


def test_the_latent_sde_finds_the_parameters_of_its_prior(capsys, monkeypatch):
    """Its Brownian motions are fresh in every run; here they are those of entropies 0, 1, ..."""
    entropies = itertools.count()
    monkeypatch.setattr("sdesolve.torchsde.interval.secrets.randbits", lambda _: next(entropies))
    file = EXAMPLES / "latent_sde.py"
    assert len(file.read_text().splitlines()) < 40
    with torch.random.fork_rng():
        runpy.run_path(str(file), run_name="__main__")
    found = re.match(r"rate (.*) for 1.5, mean (.*) for 0.8", capsys.readouterr().out)
    assert found is not None
    rate, mean = map(float, found.groups())
    assert abs(rate - 1.5) < 0.3
    assert abs(mean - 0.8) < 0.12
