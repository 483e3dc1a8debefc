"""Every snippet of docs/how-do-i.md runs, and does what it says."""

import re
from pathlib import Path

import pytest
import torch

import sdesolve as ss

TEXT = (Path(__file__).parents[1] / "docs" / "how-do-i.md").read_text()
SNIPPETS = {
    title: re.findall(r"```python\n(.*?)```", body, re.DOTALL)
    for title, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    # of torch.compile's own
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
    pytest.mark.filterwarnings("ignore:.*float32 matrix multiplication"),
]
SHAPE = (4, 3, 8, 8)


class Net(torch.nn.Module):
    """The noise in x for data N(shift of the label, 1/4), for events of any shape."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.tensor([-1.0, 0.0, 0.5, 1.0]), requires_grad=False)

    def forward(self, x, t, label=None):
        one = (-1, *[1] * (x.ndim - 1))
        t = (t / 999 if (t > 1).any() else t).reshape(one).to(x)
        process = ss.VPSDE()
        alpha, sigma = process.alpha(t), process.sigma(t)
        mean = 0 if label is None else self.shift[label].reshape(one)
        return sigma * (x - alpha * mean) / (alpha**2 / 4 + sigma**2)


@pytest.fixture
def names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    process, net = ss.VPSDE(), Net()
    generator = torch.Generator().manual_seed(0)
    image = 0.5 * torch.randn(SHAPE, generator=generator)
    made = {
        "torch": torch,
        "ss": ss,
        "process": process,
        "net": net,
        "score": ss.scores.from_noise(net, process),
        "image": image,
        "images": image.repeat(16, 1, 1, 1)
        + 0.1 * torch.randn((64, *SHAPE[1:]), generator=generator),
        "label": torch.arange(4),
        "decoder": lambda z: z.mean(1),
        "denoiser": lambda x, sigma: x / (1 + 4 * sigma.reshape(-1, 1, 1, 1) ** 2),
    }
    return made


def run(title, names):
    for snippet in SNIPPETS[title]:
        exec(compile(snippet, f"how-do-i.md: {title}", "exec"), names)
    return names


WITH_DIFFUSERS = {
    "Use a solver in a diffusers pipeline",
    "Have the numbers of a diffusers scheduler",
}


@pytest.mark.parametrize("title", sorted(set(SNIPPETS) - WITH_DIFFUSERS))
def test_snippets_run(title, names):
    before = torch.random.get_rng_state()
    got = run(title, names)
    for key in ("sol", "together"):
        if key in got:
            assert got[key].x.isfinite().all() and got[key].x.dtype == torch.float32
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_table_names_every_snippet():
    links = re.findall(r"^\| \[(.*?)\]\(#(.*?)\) \| (.*?) \|$", TEXT, re.MULTILINE)
    assert [text[0].upper() + text[1:] for text, _, _ in links] == list(SNIPPETS)
    for text, anchor, _ in links:
        assert anchor == re.sub(r"[^a-z0-9 -]", "", text.lower()).replace(" ", "-")


def test_an_image_stays_near_and_an_edit_moves_by_the_difference_of_the_classes(names):
    near = run("Start from an image", dict(names))["sol"].x
    assert torch.corrcoef(torch.stack([near.flatten(), names["image"].flatten()]))[0, 1] > 0.15
    edited = run("Invert and edit a real image", dict(names))["edited"]
    shift = names["net"].shift
    expected = names["image"] + (shift.roll(-1) - shift).reshape(-1, 1, 1, 1)
    assert torch.allclose(edited, expected, atol=0.05)


def test_chosen_times_and_the_callback(names):
    assert run("Keep the states at chosen times", dict(names))["sol"].path.shape == (3, *SHAPE)
    stopped = run("Change x on the way, or stop", dict(names))["sol"]
    assert (stopped.status == int(ss.Status.STOPPED)).all() and (stopped.nfe == 15).all()


def test_weights_negative_conditions_and_chunks(names):
    got = run("Guide every sample by a weight of its own", dict(names))
    whole = ss.conditional.classifier_free_guidance(got["score"], got["weights"])
    same = ss.sample(got["process"], whole, SHAPE, nfe=20, cond={"label": got["label"]}).x
    assert torch.allclose(got["sol"].x, same, atol=1e-5)
    for i, weight in enumerate(got["weights"].tolist()):
        guided = ss.conditional.classifier_free_guidance(got["score"], weight)
        one = ss.sample(
            got["process"], guided, (1, *SHAPE[1:]), nfe=20, first=i,
            cond={"label": got["label"][i : i + 1]},
        )  # fmt: skip
        assert torch.allclose(same[i : i + 1], one.x, atol=1e-4)
    away = run("Use a negative condition", dict(names))["sol"].x.mean((1, 2, 3))
    assert away[3] > 5 and away[0].abs() < 1.2  # away from class 0


def test_precision_devices_and_compilation_change_nothing_but_rounding(names):
    plain = ss.sample(names["process"], names["score"], SHAPE, nfe=20).x
    for title, tolerance in (
        ("Compile the network", 1e-5),
        ("Keep the network on another device", 1e-6),
        ("Run the network in half precision", 0.1),
    ):
        made = run(title, {**names, "net": Net()})["sol"].x
        assert torch.allclose(made, plain, atol=tolerance), title


def test_autocast_around_the_whole_run(names):
    """References multiply matrices; nothing of ours may be rounded to half precision."""
    reference = ss.GaussianReference.from_data(names["image"].repeat(8, 1, 1, 1))
    spectral = ss.SpectralReference.from_data(names["image"].repeat(8, 1, 1, 1))
    for known in (reference, spectral):
        options = {"solver": ss.ExponentialAdams(reference=known), "nfe": 10}
        plain = ss.sample(names["process"], names["score"], SHAPE, **options).x
        with torch.autocast("cpu", torch.bfloat16):
            cast = ss.sample(names["process"], names["score"], SHAPE, **options).x
        assert torch.allclose(cast, plain, atol=1e-5)


def test_seeds_of_prompts(names):
    got = run("Give every prompt its own seed", names)
    assert torch.allclose(torch.cat(got["alone"]), got["together"].x, atol=1e-5)


def test_more_samples(names):
    more = run("Draw more samples of a seed", names)["sol"].x
    eight = ss.sample(names["process"], names["score"], (8, *SHAPE[1:]), nfe=20, seed=0).x
    assert torch.allclose(more, eight[4:], atol=1e-6)


def test_a_network_elsewhere_gets_its_condition_there():
    seen = []

    def net(x, t, **cond):
        seen.append((x.device.type, t.device.type, cond["a"]["b"].device.type, cond["flag"]))
        return x.cpu()

    far = ss.scores.on_device(net, "meta")
    x = torch.ones(2, 3)
    assert torch.equal(ss.scores.on_device(lambda x, t: x, "cpu")(x, x[:, 0]), x)
    with pytest.raises(NotImplementedError):  # nothing comes back from where nothing is computed
        far(x, x[:, 0], a={"b": x}, flag=True)
    assert seen == [("meta", "meta", "meta", True)]
    assert repr(far) == "on_device(net, 'meta')"


def test_in_diffusers(names):
    diffusers = pytest.importorskip("diffusers")
    from tests.sdesolve.interop.test_diffusers import BLOCKS, unet

    pipe = diffusers.DDPMPipeline(unet(**BLOCKS), diffusers.DDPMScheduler())
    pipe.set_progress_bar_config(disable=True)
    names = {**names, "pipe": pipe, "diffusers": diffusers}
    assert len(run("Have the numbers of a diffusers scheduler", dict(names))["sol"].x) == 4
    assert len(run("Use a solver in a diffusers pipeline", names)["images"]) == 1
