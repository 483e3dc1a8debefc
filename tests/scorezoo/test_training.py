"""Training resumes after a kill as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from accelerate.state import AcceleratorState

import scorezoo
from scorezoo.data import ImageData, PointData
from scorezoo.networks import NETWORKS
from scorezoo.training import Compute, TrainingConfig, _draw, train

SCRIPT = """
import json, sys, torch
from pathlib import Path
from scorezoo.data import ImageData
from scorezoo.training import train
recipe, out = json.loads(sys.argv[1]), Path(sys.argv[2])
state = torch.load(sys.argv[3])
train(recipe, ImageData(*state), out, checkpoint_every=2, log_every=1, progress=False)
"""


def _lines(folder):
    log = (folder / "loss.jsonl").read_text().splitlines()
    return [(line["step"], line["loss"]) for line in map(json.loads, log)]


def test_a_killed_run_continues_bit_for_bit(recipe, images, tmp_path):
    recipe["training"]["epochs"] = 8  # 40 steps
    options = {"checkpoint_every": 2, "log_every": 1, "progress": False}
    whole = train(recipe, images, tmp_path / "whole", **options)

    state = tmp_path / "images.pt"
    torch.save((images.pixels, images.labels), state)
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", SCRIPT, json.dumps(recipe), str(killed), str(state)]
    process = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    )
    deadline = time.monotonic() + 120
    while not (killed / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    step = torch.load(killed / "checkpoint.pt", weights_only=True)["step"]
    assert 0 < step < 40

    resumed = train(recipe, images, killed, **options)
    assert _lines(killed) == _lines(tmp_path / "whole")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_stopping_early_and_going_on_is_the_same_run(recipe, images, tmp_path):
    options = {"checkpoint_every": 4, "log_every": 3, "progress": False}
    train(recipe, images, tmp_path / "whole", **options)
    for stop in (5, 11, None):
        train(recipe, images, tmp_path / "parts", max_steps=stop, **options)
    a = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    b = torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)
    assert a["step"] == b["step"] == 15
    for key, value in a["average"].items():
        assert torch.equal(value, b["average"][key]), key


def test_the_global_random_state_is_untouched(recipe, images, tmp_path):
    before = torch.random.get_rng_state()
    train(recipe, images, tmp_path / "run", max_steps=1, progress=False)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_learning_lowers_the_loss(recipe, images, tmp_path):
    recipe["training"] |= {"epochs": 12, "learning_rate": 3e-3}
    train(recipe, images, tmp_path / "run", log_every=5, progress=False)
    losses = [loss for _, loss in _lines(tmp_path / "run")]
    assert losses[-1] < 0.7 * losses[0]


def test_another_recipe_does_not_overwrite_a_run(recipe, images, tmp_path):
    train(recipe, images, tmp_path / "run", max_steps=1, progress=False)
    recipe["training"]["seed"] = 1
    with pytest.raises(ValueError, match="another recipe"):
        train(recipe, images, tmp_path / "run", progress=False)


def test_too_few_images_for_a_batch(recipe, images, tmp_path):
    recipe["training"]["batch_size"] = 64
    with pytest.raises(ValueError, match="batch_size"):
        train(recipe, images, tmp_path / "run", progress=False)


def test_the_learning_rate_warms_up_and_ends_at_zero():
    plan = TrainingConfig(epochs=1, warmup_steps=10)
    rates = [plan.rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)


def test_until_the_cooldown_the_rate_does_not_know_the_end():
    plan = TrainingConfig(epochs=1, warmup_steps=10, cooldown=0.25)
    assert all(plan.rate(step, 100) == plan.rate(step, 200) for step in range(76))
    assert plan.rate(75, 100) == 1.0
    assert plan.rate(88, 100) < 0.6
    assert plan.rate(100, 100) == pytest.approx(0.0, abs=1e-12)
    assert TrainingConfig(epochs=1, cooldown=0.0).rate(100, 100) == 1.0


def test_a_run_may_be_made_longer_before_its_cooldown(recipe, images, tmp_path):
    options = {"checkpoint_every": 2, "log_every": 1, "progress": False}
    recipe["training"] |= {"cooldown": 0.2}
    longer = recipe | {"training": recipe["training"] | {"epochs": 4}}
    train(longer, images, tmp_path / "whole", **options)
    train(recipe, images, tmp_path / "parts", max_steps=10, **options)
    train(longer, images, tmp_path / "parts", **options)
    assert _lines(tmp_path / "parts") == _lines(tmp_path / "whole")


@pytest.mark.parametrize(
    "compute",
    [Compute(accumulate=4), Compute(channels_last=True), Compute(recompute=True)],
    ids=["accumulate", "channels-last", "recompute"],
)
def test_how_it_is_computed_does_not_change_the_run(compute, edm_recipe, images, tmp_path):
    options = {"log_every": 1, "max_steps": 6, "progress": False}
    plain = train(edm_recipe, images, tmp_path / "plain", **options)
    other = train(edm_recipe, images, tmp_path / "other", compute=compute, **options)
    for (_, a), (_, b) in zip(_lines(tmp_path / "plain"), _lines(tmp_path / "other"), strict=True):
        assert b == pytest.approx(a, rel=1e-4)
    for (name, a), b in zip(plain.state_dict().items(), other.state_dict().values(), strict=True):
        # Adam divides by the size of the gradient: where that is rounding, so is the step.
        assert (a - b).abs().max() < 1e-3, name


def _saved(model, x, t):
    """Values that autograd keeps for the gradient, and the layouts of what convolutions saw."""
    kept, channels_last = 0, []

    def pack(tensor):
        nonlocal kept
        kept += tensor.numel()
        return tensor

    def look(module, inputs):
        channels_last.append(inputs[0].is_contiguous(memory_format=torch.channels_last))

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(look)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(x, t).sum().backward()
    return kept, channels_last


def test_memory_options_do_what_they_say(edm_recipe):
    x, t = torch.randn(2, 1, 16, 16), torch.full((2,), 0.5)
    network = edm_recipe["network"] | {"channels": [16, 32]}

    def built(compute):
        return compute.apply(scorezoo.ScoreModel(network, {"name": "EDM"}, (1, 16, 16)))

    plain, layouts = _saved(built(Compute()), x, t)
    assert not all(layouts)
    assert _saved(built(Compute(recompute=True)), x, t)[0] < 0.5 * plain
    model = built(Compute(channels_last=True))
    assert all(
        p.is_contiguous(memory_format=torch.channels_last)
        for p in model.parameters()
        if p.ndim == 4
    )
    assert all(_saved(model, x.contiguous(memory_format=torch.channels_last), t)[1])


def test_parts_of_a_batch_are_computed_one_after_the_other(
    edm_recipe, images, tmp_path, monkeypatch
):
    sizes = []
    forward = NETWORKS["edm-unet"].forward

    def counted(self, x, *args, **kwargs):
        sizes.append(len(x))
        return forward(self, x, *args, **kwargs)

    monkeypatch.setattr(NETWORKS["edm-unet"], "forward", counted)
    train(edm_recipe, images, tmp_path, compute=Compute(accumulate=4), max_steps=2, progress=False)
    assert sizes[1:] == [2] * 8  # the first one counts operations


@pytest.mark.parametrize("what", ["images", "fp16"])
def test_what_cannot_be_meant_is_refused(what, edm_recipe, images, tmp_path, fresh_accelerate):
    options = {"progress": False, "max_steps": 2}
    train(edm_recipe, images, tmp_path, **options)
    AcceleratorState._reset_state()
    if what == "fp16":
        with pytest.raises(ValueError, match="write bf16"):
            train(edm_recipe, images, tmp_path, compute=Compute("fp16"), **options)
    else:
        other = ImageData(255 - images.pixels, images.labels)
        with pytest.raises(ValueError, match="other data"):
            train(edm_recipe, other, tmp_path, **options)


@pytest.fixture
def fresh_accelerate():
    """Accelerate keeps one precision for a process."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


def test_half_precision_is_near(edm_recipe, images, tmp_path, fresh_accelerate):
    options = {"log_every": 1, "max_steps": 6, "progress": False}
    train(edm_recipe, images, tmp_path / "plain", **options)
    AcceleratorState._reset_state()
    train(edm_recipe, images, tmp_path / "half", compute=Compute("bf16"), **options)
    pairs = zip(_lines(tmp_path / "plain"), _lines(tmp_path / "half"), strict=True)
    differences = [abs(a / b - 1) for (_, a), (_, b) in pairs]
    assert 1e-7 < max(differences) < 0.05


def test_compute_is_checked_and_applied():
    with pytest.raises(ValueError, match="bf16"):
        Compute("int4")
    with pytest.raises(ValueError, match="1 or more"):
        Compute(accumulate=0)
    assert all(network.recomputed for network in NETWORKS.values())


def test_dropout_resumes_exactly(edm_recipe, images, tmp_path):
    edm_recipe["network"]["dropout"] = 0.5
    options = {"checkpoint_every": 2, "log_every": 1, "progress": False}
    before = torch.random.get_rng_state()
    train(edm_recipe, images, tmp_path / "whole", max_steps=4, **options)
    assert torch.equal(torch.random.get_rng_state(), before)
    train(edm_recipe, images, tmp_path / "parts", max_steps=2, **options)
    train(edm_recipe, images, tmp_path / "parts", max_steps=4, **options)
    assert _lines(tmp_path / "parts") == _lines(tmp_path / "whole")


def test_labels_are_dropped_and_images_mirrored(images):
    """Drawn batches hold the images themselves, labelled as they are; the shares as asked for."""
    from accelerate import Accelerator

    import scorezoo
    from scorezoo.objectives import EDMObjective

    network = {"name": "edm-unet", "channels": [16], "attention": [], "classes": 4}
    model = scorezoo.ScoreModel(network, {"name": "EDM"}, (1, 16, 16), (-1.0, 1.0))
    plan = TrainingConfig(epochs=1, batch_size=40, label_dropout=0.3, flip=True)
    dropped, mirrored, n = 0, 0, 50
    for step in range(n):
        arguments = (images, model, plan, EDMObjective(0.5), step, Accelerator(), Compute())
        ((x0, t, _, label_seen),) = _draw(*arguments)
        assert t.shape == (40,)
        plain = images.batch(torch.arange(40), (-1.0, 1.0))
        same = (x0[:, None] == plain).flatten(2).all(2)
        other = (x0.flip(-1)[:, None] == plain).flatten(2).all(2)
        assert (same | other).sum(1).eq(1).all()
        label = images.labels[(same | other).long().argmax(1)]
        assert ((label_seen == label) | (label_seen == -1)).all()
        dropped += int((label_seen == -1).sum())
        mirrored += int(other.sum())
    for count, share in ((dropped, 0.3), (mirrored, 0.5)):
        assert abs(count / (40 * n) - share) < 4.5 * (share * (1 - share) / (40 * n)) ** 0.5


def test_points_are_trained_too(tmp_path):
    generator = torch.Generator().manual_seed(0)
    points = 0.5 * torch.randn(256, 2, generator=generator)
    recipe = {
        "data": {},
        "process": {"name": "EDM", "sigma_max": 10.0},
        "preconditioning": {"name": "edm"},
        "objective": {"name": "edm"},
        "network": {"name": "mlp", "width": 16, "blocks": 1, "embed_dim": 8},
        "training": {"epochs": 2, "batch_size": 64, "learning_rate": 1e-3},
    }
    data = PointData(points, torch.full((256,), -1))
    model = train(recipe, data, tmp_path / "run", progress=False)
    assert model.preconditioning["sigma_data"] == pytest.approx(0.5, rel=0.1)
    assert model.score(torch.zeros(3, 2), torch.ones(3)).shape == (3, 2)


def test_a_full_disk_leaves_the_checkpoint_before(recipe, images, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    train(recipe, images, folder, max_steps=2, progress=False)
    before = (folder / "checkpoint.pt").read_bytes()

    def full(state, path):
        path.write_bytes(b"half")
        raise RuntimeError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="make room"):
        train(recipe, images, folder, max_steps=4, progress=False)
    assert (folder / "checkpoint.pt").read_bytes() == before
    monkeypatch.undo()
    train(recipe, images, folder, max_steps=4, progress=False)
    assert [step for step, _ in _lines(folder)] == [2, 4]


def test_a_run_that_ended_before_its_export_is_exported(recipe, images, tmp_path):
    """Also where the log ends in half a line."""
    folder = tmp_path / "run"
    model = train(recipe, images, folder, max_steps=2, progress=False)
    shutil.rmtree(folder / "model")
    with (folder / "loss.jsonl").open("a") as log:
        log.write('{"step": 3, "lo')
    train(recipe, images, folder, max_steps=2, progress=False)
    again = scorezoo.load(folder / "model").state_dict()
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items())
    assert [step for step, _ in _lines(folder)] == [2]


@pytest.mark.parametrize(("first", "found"), [(1, "1 to 4"), (None, "none")])
def test_labels_that_are_no_classes_are_refused(edm_recipe, images, tmp_path, first, found):
    labels = torch.full((40,), -1) if first is None else images.labels + first
    data = ImageData(images.pixels, labels)
    with pytest.raises(ValueError, match=f"labels 0 to 3, the data have {found}"):
        train(edm_recipe, data, tmp_path / "run", progress=False)


def test_an_unreadable_checkpoint_is_reported_and_left_alone(recipe, images, tmp_path):
    folder = tmp_path / "run"
    train(recipe, images, folder, max_steps=2, progress=False)
    path = folder / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cannot read .*checkpoint\.pt"):
        train(recipe, images, folder, max_steps=4, progress=False)
    assert path.stat().st_size == 1000
    assert (folder / "model" / "model.safetensors").exists()


def test_the_log_counts_operations(tmp_path):
    """Three times the forward pass, a multiplication and an addition being two operations."""
    pixels = torch.zeros(8, 1, 16, 16, dtype=torch.uint8)
    recipe = {
        "data": {"range": [0.0, 1.0]},
        "process": {"name": "EDM"},
        "network": {"name": "mlp", "dim": 256, "width": 32, "blocks": 0, "embed_dim": 8},
        "training": {"epochs": 1, "batch_size": 8},
    }
    data = PointData(pixels.flatten(1).float(), torch.zeros(8))
    train(recipe, data, tmp_path / "run", progress=False)
    (line,) = map(json.loads, (tmp_path / "run" / "loss.jsonl").read_text().splitlines())
    forward = 2 * (8 * 8 + 256 * 32 + 32 * 256)
    assert line["model_gflops"] == pytest.approx(3 * forward * line["images_per_second"] / 1e9)
