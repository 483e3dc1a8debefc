"""Solvers fitted to guidance weights: made by the command, named by it, found by sampling."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import scorezoo
import sdesolve as ss
from scorezoo.folders import guided_budgets, guided_name, pretrained_folder
from scorezoo.guidance import weights_between

from .walking import ok, refused

pytestmark = pytest.mark.usefixtures("here")

CONFIG = {
    "network": {"name": "mlp", "width": 8, "blocks": 1, "embed_dim": 8, "classes": 2},
    "process": {"name": "EDM", "sigma_min": 0.01, "sigma_max": 10.0},
    "shape": [2],
    "data_range": [-1.0, 1.0],
    "preconditioning": {"name": "edm", "sigma_data": 0.5},
}
FEW = ("--trajectories", 16, "--quick", "--nfe", 2)


@pytest.fixture
def guided(here):
    """Folder of points with two classes, whose score depends on the label."""
    torch.manual_seed(0)
    model = scorezoo.ScoreModel(**CONFIG)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0, 0.2)
    model.save_pretrained("mine")
    shutil.copy(pretrained_folder() / "toy-moons" / "recipe.toml", "mine/recipe.toml")
    return "mine"


@pytest.mark.parametrize("count", [16, 64, 100, 128])
@pytest.mark.parametrize("classes", [2, 10])
def test_weights_of_every_part_and_label_are_spread_over_the_range(count, classes):
    weights = weights_between(1.0, 3.0, count)
    assert weights.min() == 1.0 and weights.max() == 3.0
    gaps = weights.sort().values.diff()
    assert torch.allclose(gaps, torch.full_like(gaps, 2 / (count - 1)), atol=1e-6)
    parts = weights[: count // 2], weights[count // 2 : 3 * count // 4], weights[3 * count // 4 :]
    labelled = [weights[torch.arange(count) % classes == c] for c in range(classes)]
    for part in (*parts, *(v for v in labelled if len(v) >= 8)):
        assert part.mean() == pytest.approx(2.0, abs=1.5 / len(part) ** 0.5)
        assert part.min() < 1.7 and part.max() > 2.3
    assert torch.equal(weights_between(2.0, 2.0, count), torch.full((count,), 2.0))


def test_files_are_known_by_their_names():
    names = [
        f"{guided_name(*ends)}-{n}.json" for ends in ((1, 3), (2.5, 2.5), (0, 3)) for n in (8, 5)
    ]
    for name in (*names, "guided-1-3-5 (1).json", "guided-x-5.json", "guided-5.json"):
        Path(name).touch()
    found = guided_budgets(Path())
    assert list(found) == [(2.5, 2.5), (1.0, 3.0), (0.0, 3.0)]
    assert {ends: list(files) for ends, files in found.items()} == {ends: [5, 8] for ends in found}
    assert found[1.0, 3.0][8].name == "guided-1-3-8.json"


def test_a_range_is_fitted_and_sampling_takes_it_within(guided):
    there = {"tuned-2.json": "tuned-5.json", "reference.safetensors": "reference.safetensors"}
    for name, other in there.items():  # of the unguided score: left alone
        shutil.copy(pretrained_folder() / "toy-moons" / other, Path(guided, name))
    before = {name: Path(guided, name).read_bytes() for name in there}
    said = ok("tune", guided, *FEW, "--guidance", 3, "--guidance", 1).output
    assert "best published" in said
    assert {name: Path(guided, name).read_bytes() for name in there} == before
    fitted = Path("mine/guided-1-3-2.json").read_text()
    conditions = json.loads(fitted)["fitted_on"]["conditions"]
    assert conditions == {"guidance": "1 to 3", "label": "0 to 1"}

    def drawn(*more):
        return ok("sample", guided, "--count", 2, "--nfe", 2, "--labels", "all", *more).output

    assert "tuned for 2 calls with guidance 1 to 3 and label 0 to 1" in drawn("--guidance", 2)
    for other in (("--guidance", 3.5), ("--guidance", 2, "--nfe", 3)):
        assert "tuned" not in drawn(*other)
    Path("mine/guided-2-2.json").write_text(fitted.replace("1 to 3", "2"))
    assert "with guidance 2 and" in drawn("--guidance", 2)  # nearer than the range
    assert "with guidance 1 to 3" in drawn("--guidance", 2.5)
    ok("export", guided, "--output", "half")
    assert scorezoo.load("half").tuned_guided.keys() == {(2.0, 2.0), (1.0, 3.0)}
    model = scorezoo.load(guided)
    assert model.guided(2.5).tuned.keys() == {2} and not model.guided(0.5).tuned
    ok(
        "sample",
        guided,
        "--count",
        2,
        "--nfe",
        2,
        "--labels",
        "all",
        "--guidance",
        2,
        "--output",
        "s/",
    )
    settings = json.loads(Path("s/settings.json").read_text())
    assert settings["tuned"] == model.guided(2.0).tuned[2].choice


def test_a_guided_score_is_the_one_of_the_library(guided):
    model = scorezoo.load(guided)
    x, t, label = torch.randn(3, 2), torch.full((3,), 0.5), torch.tensor([0, 1, 1])
    by_hand = ss.conditional.classifier_free_guidance(model.score, 2.0)
    assert torch.equal(model.guided(2.0)(x, t, label=label), by_hand(x, t, label=label))
    for wrong in ("w", float("nan")):
        with pytest.raises(ValueError, match="weight"):
            model.guided(wrong)
    with pytest.raises(ValueError, match="without classes"):
        scorezoo.load("toy-moons").guided(2.0)


def test_what_guidance_cannot_be_fitted_to_is_refused(guided):
    one = ("tune", guided, "--nfe", 2, "--guidance", 1)
    refused("got 3 times", *one, "--guidance", 2, "--guidance", 3)
    refused("leave out --stochasticity", *one, "--stochasticity", 1)
    refused("leave out --surrogate", *one, "--surrogate", "mixture")
    refused("without classes", "tune", "toy-moons", "--nfe", 2, "--guidance", 1)
    assert not list(Path().rglob("guided-*"))
