"""Networks on a CUDA device."""

import json

import pytest
import torch
from accelerate.state import AcceleratorState
from typer.testing import CliRunner

import scorezoo
import sdesolve as ss
from scorezoo.cli import app
from scorezoo.data import ImageData
from scorezoo.likelihood import evaluate_likelihood
from scorezoo.training import Compute, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("name", ["fashion-mnist", "fashion-mnist-edm", "cifar10", "toy-moons"])
def test_shipped_networks_are_the_same_there(name):
    here, there = scorezoo.load(name), scorezoo.load(name, device="cuda")
    x = torch.randn(4, *here.shape, generator=torch.Generator().manual_seed(0))
    t = torch.full((4,), 0.5)
    with torch.no_grad():
        difference = there.score(x.cuda(), t.cuda()).cpu() - here.score(x, t)
    assert difference.abs().max() < 0.02 * here.score(x, t).abs().max()  # TF32 convolutions

    def draw(model):
        noise = x.to(model.device) * model.process.prior_std(model.process.T)
        given = {"x": noise, "solver": ss.UniPC(), "nfe": 12}
        return ss.sample(model.process, model.score, x.shape, **given).x.cpu()

    assert (draw(here) - draw(there)).square().mean().sqrt() < 0.1


def test_rounding_costs_a_likelihood_no_evaluations():
    """TF32 would: several times as many."""
    images = ImageData(torch.full((2, 1, 28, 28), 100, dtype=torch.uint8), torch.zeros(2).long())

    def calls(device):
        model = scorezoo.load("fashion-mnist-edm", device=device)
        return evaluate_likelihood(model, images, 2, batch_size=2).values["nfe"].double().mean()

    assert calls("cuda") < 1.2 * calls("cpu")


@pytest.fixture(autouse=True)
def fresh_accelerate():
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


def _losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "loss.jsonl").read_text().splitlines()]


@pytest.mark.filterwarnings("ignore:TensorFloat32")  # the compiler's advice
@pytest.mark.parametrize(
    "compute",
    [
        Compute(),
        Compute("bf16", channels_last=True, recompute=True),
        Compute("fp16", accumulate=2),
        Compute("bf16", compile=True),
    ],
    ids=str,
)
def test_training_follows_the_recipe(compute, edm_recipe, images, tmp_path, monkeypatch):
    """The same batches and noise as on a processor, so the same losses but for rounding."""
    options = {"log_every": 1, "progress": False}
    train(edm_recipe, images, tmp_path, compute=compute, **options)
    losses = _losses(tmp_path)
    resumed = train(edm_recipe, images, tmp_path, compute=compute, **options)
    assert next(resumed.parameters()).device.type == "cuda"
    AcceleratorState._reset_state(True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    train(edm_recipe, images, tmp_path / "here", **options)
    assert losses == pytest.approx(_losses(tmp_path / "here"), rel=0.02)


def test_one_command_draws_and_judges(tmp_path):
    given = ["--device", "cuda", "--count", "20", "--nfe", "10", "--labels", "all"]
    run = CliRunner().invoke(
        app, ["sample", "fashion-mnist-edm", "--output", str(tmp_path / "a.png"), *given]
    )
    assert run.exit_code == 0, run.output
    assert (tmp_path / "a.png").exists()
    run = CliRunner().invoke(app, ["evaluate", "fashion-mnist-edm", *given])
    assert run.exit_code == 0, run.output
    assert "Frechet" in run.output
