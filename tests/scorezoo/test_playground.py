"""The playground: what it computes, without Gradio, and the page itself in a browser."""

import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import scorezoo
import sdesolve as ss
from scorezoo.cli import app
from scorezoo.commands.play import told
from scorezoo.playground import Asked, labels_of, play, shape_of

from .test_model import TINY

CONDITIONAL = TINY | {
    "network": TINY["network"] | {"classes": 3},
    "process": {"name": "EDM"},
    "class_names": ["a", "b", "c"],
}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("play")
    with torch.random.fork_rng():
        scorezoo.ScoreModel(**CONDITIONAL).save_pretrained(folder / "tiny")
    return str(folder / "tiny")


def test_it_draws_what_sample_draws(model):
    asked = Asked(model, solver="heun", nfe=8, label=2, seed=3, count=4)
    shown = play(asked)
    net = scorezoo.load(model)
    cond = {"label": torch.full((4,), 2)}
    options = {"solver": "heun", "nfe": 8, "seed": 3, "cond": cond}
    assert torch.equal(shown.x, ss.sample(net.process, net.score, (4, *net.shape), **options).x)
    assert (shown.nfe, shown.unfinished, shown.error) == (8, 0, None)
    assert shown.times[0] == net.process.T and shown.times[-1] == net.process.eps
    # Five states of four samples, a margin of one pixel, enlarged by a whole number.
    scale = shown.strip.shape[0] // 67
    assert shown.strip.shape == (scale * 67, scale * 84, 3) and 300 < scale * 84 < 600


def test_labels_stand_in_turn_and_guidance_moves_them(model):
    turn = play(Asked(model, nfe=5, label="all", count=6))
    first = play(Asked(model, nfe=5, label=0, count=6))
    assert torch.allclose(turn.x[::3], first.x[::3], atol=1e-5)
    assert not torch.allclose(turn.x[1::3], first.x[1::3], atol=1e-5)
    guided = play(Asked(model, nfe=5, label=0, count=6, guidance=3.0))
    assert guided.difference(first) > 0 and labels_of(model) == ("a", "b", "c")


def test_the_same_seed_shows_what_solver_and_calls_change():
    """More calls of any solver of the flow approach the same points, whatever the solver."""
    exact = play(Asked("toy-moons", solver="heun", nfe=100, count=16))
    few, more = (play(Asked("toy-moons", solver="dpmpp-2m", nfe=n, count=16)) for n in (10, 60))
    assert more.difference(exact) < 0.2 * few.difference(exact)
    assert few.difference(None) is None
    other = play(Asked("toy-moons", solver="heun", nfe=10, count=16, seed=1))
    assert other.difference(exact) is None  # other noise: nothing to compare
    assert shape_of("toy-moons") == (2,) and exact.samples.shape == (300, 300, 3)


def test_adaptive_solvers_show_the_same_times_for_every_sample():
    shown = play(Asked("toy-moons", solver="adaptive-dopri5", nfe=200, count=16))
    assert len(shown.times) == 8 and shown.unfinished == 0
    snr = [float(scorezoo.load("toy-moons").process.log_snr(t)) for t in shown.times]
    steps = torch.tensor(snr, dtype=torch.float64).diff()
    assert torch.allclose(steps, steps.mean(), rtol=1e-6)


def test_the_estimate_falls_with_the_calls():
    few, more = (play(Asked("toy-moons", nfe=n, count=16)) for n in (12, 40))
    assert 0 < more.error < few.error
    assert f"{more.error:.3g}, mean" in told(more) and "NFE):** 40" in told(more)
    assert "difference from the run before" in told(more, few)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"guidance": 2.0}, "guidance weighs labels"),
        ({"label": "all", "model": "toy-moons"}, "trained without classes"),
        ({"solver": "huen"}, "did you mean heun"),
        ({"model": "toy-moon"}, "did you mean toy-moons"),
        ({"solver": "ddim", "stochasticity": 0.5}, "is made for stochasticity 0"),
    ],
)
def test_choices_that_cannot_be_run_are_one_sentence(model, choice, message):
    with pytest.raises(ValueError, match=message):
        play(Asked(**({"model": model, "nfe": 4} | choice)))


def test_without_gradio_it_says_what_to_install(model, monkeypatch):
    monkeypatch.setattr("scorezoo.commands.play.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["play", model])
    assert result.exit_code == 2 and "pip install 'sdesolve[play]'" in result.output


def _free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture(scope="module")
def address(model):
    # Looked for, not imported: gradio warns when it is, and the page runs in another process.
    if shutil.which("chromium") is None:
        pytest.skip("no Chromium on this machine: install chromium")
    found = subprocess.run(
        [sys.executable, "-c", "import gradio"], capture_output=True, text=True, cwd=ROOT
    )
    if found.returncode:
        pytest.skip("gradio is not installed: pip install 'sdesolve[play]'")
    port = _free_port()
    command = [sys.executable, "-m", "scorezoo", "play", model, "--no-browser", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        for _ in range(240):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, server.stdout.read()
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


def test_the_page_draws_an_image(address):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    faults = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.on("console", lambda said: said.type == "error" and faults.append(said.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request",
            lambda sent: (
                sent.url.startswith("http")
                and not sent.url.startswith(address)
                and faults.append(sent.url)
            ),
        )
        page.goto(address)
        page.wait_for_selector("#samples img", timeout=30_000)
        assert "NFE): 20" in page.locator("#said").inner_text()
        assert page.locator("#before img").count() == 0
        calls = page.get_by_label("number input for Network calls per sample")
        calls.fill("5")
        calls.press("Tab")
        page.locator("#draw").focus()
        page.keyboard.press("Enter")  # by keyboard alone
        page.wait_for_selector("#before img", timeout=30_000)
        said = page.locator("#said").inner_text()
        assert "NFE): 5" in said and re.search(r"difference from the run before: \d", said)
        sizes = page.eval_on_selector_all("img", "all => all.map(i => [i.alt, i.naturalWidth])")
        assert len(sizes) == 3 and all(alt and width > 300 for alt, width in sizes)
        browser.close()
    assert not faults
