"""Likelihoods on disk: a killed evaluation continues, no image twice, none lost."""

import math
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

import scorezoo
import sdesolve as ss
from scorezoo.likelihood import bin_scale, evaluate_likelihood

from .test_model import TINY


class Closed(scorezoo.ScoreModel):
    """A model with a closed form for a score, which is quick."""

    @property
    def score(self):
        return ss.Gaussian(torch.zeros(self.shape), 0.3).score(self.process)


def closed():
    torch.manual_seed(0)
    return Closed(**TINY).eval().requires_grad_(False)


@pytest.fixture
def model():
    return closed()


OPTIONS = {"divergence": ss.Hutchinson(2), "rtol": 1e-3, "atol": 1e-3, "progress": False}


def test_bins_are_centred_on_the_values_of_training(model):
    low, high = bin_scale(model)
    quantisation = ss.dequantise.Quantisation(256, (low, high))
    assert quantisation.width == pytest.approx(2 / 255)
    pixels = torch.tensor([[0, 1, 254, 255]]).double()
    x = 2 * pixels / 255 - 1
    assert torch.equal(quantisation.levels(x), pixels)
    torch.testing.assert_close(quantisation.dequantise(x, torch.zeros_like(x)), x)


def test_a_killed_evaluation_continues(model, images, tmp_path, monkeypatch):
    whole = evaluate_likelihood(model, images, 11, batch_size=4, draws=2, **OPTIONS)
    seen = []
    plain = ss.log_likelihood

    def killed(process, score, x, **options):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append((options["first"], len(x)))
        return plain(process, score, x, **options)

    monkeypatch.setattr(ss, "log_likelihood", killed)
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        evaluate_likelihood(model, images, 11, batch_size=3, draws=2, folder=folder, **OPTIONS)
    (folder / ".images-00000006-3.safetensors.1.tmp").write_bytes(b"half a file")
    # One chunk from the middle goes missing too.
    (folder / "images-00000000-3.safetensors").unlink()
    monkeypatch.setattr(ss, "log_likelihood", plain)
    rest = []

    def counting(process, score, x, **options):
        rest.append((options["first"], len(x)))
        return plain(process, score, x, **options)

    monkeypatch.setattr(ss, "log_likelihood", counting)
    again = evaluate_likelihood(model, images, 11, batch_size=4, draws=2, folder=folder, **OPTIONS)
    assert seen == [(0, 3), (3, 3)]
    assert rest == [(0, 3), (6, 2), (8, 3)]  # cut at the multiples of 4
    for name, value in whole.values.items():
        torch.testing.assert_close(again.values[name], value, rtol=1e-5, atol=1e-3, equal_nan=True)
    rest.clear()
    fewer = evaluate_likelihood(model, images, 5, draws=2, folder=folder, **OPTIONS)
    assert rest == [] and len(fewer.bits_per_dim) == 5
    mean, half = whole.mean()
    bits = whole.bits_per_dim
    assert mean == pytest.approx(bits.mean().item())
    assert half == pytest.approx(1.96 * bits.std().item() / math.sqrt(11))
    with pytest.raises(ValueError, match="seed 0 there, 1 now"):
        evaluate_likelihood(model, images, 5, draws=2, seed=1, folder=folder, **OPTIONS)


def test_images_must_fit(model, images):
    with pytest.raises(ValueError, match="first \\+ count is 40 at most"):
        evaluate_likelihood(model, images, 41, **OPTIONS)
    wrong = type(images)(images.pixels[:, :, :8], images.labels)
    with pytest.raises(ValueError, match="shape"):
        evaluate_likelihood(model, wrong, 1, **OPTIONS)


def test_the_whole_does_not_depend_on_the_cut(model, images, tmp_path):
    whole = evaluate_likelihood(model, images, 40, batch_size=4, draws=2, **OPTIONS)
    for first, count in ((24, 16), (0, 8), (4, 24)):
        part = evaluate_likelihood(
            model, images, count, first=first, batch_size=4, draws=2, folder=tmp_path, **OPTIONS
        )
        own = slice(first, first + count)
        assert part.first == first
        assert torch.equal(part.values["log_prob"], whole.values["log_prob"][own])
    merged = evaluate_likelihood(model, images, 40, draws=2, folder=tmp_path, **OPTIONS)
    for name, value in whole.values.items():
        assert torch.equal(merged.values[name], value)
    with pytest.raises(ValueError, match="first \\+ count"):
        evaluate_likelihood(model, images, 8, first=33, **OPTIONS)


def test_a_damaged_chunk_is_named_before_the_work(model, images, tmp_path):
    evaluate_likelihood(model, images, 8, batch_size=4, folder=tmp_path, **OPTIONS)
    chunk = tmp_path / "images-00000004-4.safetensors"
    whole = chunk.read_bytes()
    other = (tmp_path / "images-00000000-4.safetensors").read_bytes()
    for damage in (whole[:-9], b"", other):
        chunk.write_bytes(damage)
        with pytest.raises(ValueError, match=r"images-00000004-4.*remove it"):
            evaluate_likelihood(model, images, 16, folder=tmp_path, **OPTIONS)
    chunk.unlink()
    evaluate_likelihood(model, images, 16, folder=tmp_path, **OPTIONS)


SCRIPT = """
import sys
from pathlib import Path
import torch
import sdesolve as ss
from scorezoo.likelihood import evaluate_likelihood
from scorezoo.data import ImageData
from tests.scorezoo.test_likelihood import OPTIONS, closed
images = ImageData(*torch.load(sys.argv[1]))
if sys.argv[4:] == ["slowly"]:
    import time
    plain = ss.log_likelihood
    ss.log_likelihood = lambda *a, **k: (time.sleep(0.1), plain(*a, **k))[1]
print("ready", flush=True)
options = OPTIONS | {"batch_size": 2, "draws": 2, "folder": Path(sys.argv[2])}
found = evaluate_likelihood(closed(), images, 40, **options)
torch.save((found.values, found.seconds), sys.argv[3])
"""


def test_two_processes_of_which_one_is_killed_lose_and_double_nothing(model, images, tmp_path):
    torch.save((images.pixels, images.labels), tmp_path / "images.pt")
    folder = tmp_path / "run"

    def start(number, *how):
        command = [sys.executable, "-c", SCRIPT, tmp_path / "images.pt", folder]
        return subprocess.Popen(
            [*map(str, command), str(tmp_path / f"{number}.pt"), *how],
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
        )

    victim, survivor = start(0, "slowly"), start(1, "slowly")
    assert victim.stdout.readline() == survivor.stdout.readline() == "ready\n"
    while len(list(folder.glob("images-*"))) < 3:
        time.sleep(0.01)
    time.sleep(random.Random(0).uniform(0, 0.2))
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert len(list(folder.glob("images-*"))) < 20
    third = start(2)
    assert survivor.wait(timeout=120) == third.wait(timeout=120) == 0
    for child in (victim, survivor, third):
        child.stdout.close()
    whole = evaluate_likelihood(model, images, 40, batch_size=2, draws=2, **OPTIONS)
    for number in (1, 2):
        values, seconds = torch.load(tmp_path / f"{number}.pt")
        assert seconds > 0
        for name, value in whole.values.items():
            assert torch.equal(values[name], value), name
    names = sorted(path.name for path in folder.glob("images-*"))
    assert names == [f"images-{low:08d}-2.safetensors" for low in range(0, 40, 2)]
    left = {path.name for path in folder.iterdir()} - {*names, "settings.json", ".settings.lock"}
    assert not left
