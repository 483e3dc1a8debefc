import json

import pytest
import torch
from torch.nn import functional as F

from scorezoo import ScoreModel
from scorezoo.networks import MLP, NCSN, NETWORKS, EDMUNet, NCSNpp, UNet
from scorezoo.networks.ncsn import InstanceNormPlus
from scorezoo.networks.resampling import fir_down, fir_up
from scorezoo.recipes import read_recipe, recipe_names

TINY = {
    "mlp": {"dim": 6, "width": 16, "embed_dim": 8},
    "unet": {"in_channels": 3, "channels": (32, 32), "embed_dim": 16},
    "edm-unet": {
        "in_channels": 3,
        "channels": (16, 32),
        "attention": (1,),
        "patch": 2,
        "blocks": 1,
    },
    "ncsn": {"channels": 8, "levels": 4},
    "ncsnpp": {"channels": 16, "multipliers": (1, 2), "blocks": 1},
}
NCSNPP = {
    "ddpm": {"block": "ddpm", "attend_every_up": True, "skip_rescale": False},
    "everything": {
        "fir": True,
        "progressive_input": "residual",
        "progressive": "output_skip",
        "embedding": "fourier",
    },
    "skips": {"progressive_input": "input_skip", "progressive": "output_skip"},
}
BUILDS = [*((name, {}) for name in TINY), *(("ncsnpp", extra) for extra in NCSNPP.values())]


def _build(name, extra=()):
    """A tiny network whose layers that start at zero do not."""
    torch.manual_seed(0)
    net = NETWORKS[name](**(TINY[name] | dict(extra))).eval()
    for parameter in net.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return net


@pytest.fixture
def no_values(monkeypatch):
    """Networks without memory, and without torch's slow way to draw numbers for them."""
    for name in ("normal_", "uniform_", "xavier_uniform_", "kaiming_uniform_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
    with torch.device("meta"):
        yield


def _count(net):
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def _shape(table):
    network = table["network"]
    return (2,) if network["name"] == "mlp" else (network.get("in_channels", 3), 32, 32)


@pytest.mark.parametrize(
    ("recipe", "changes", "count"),
    [
        ("cifar10-ddpm", {}, 35_746_307),
        ("cifar10-ddpmpp", {}, 61_804_419),
        ("cifar10-ddpmpp", {"blocks": 8}, 106_632_579),
        ("cifar10-ncsnpp", {}, 62_758_787),
        ("cifar10-ncsnpp", {"blocks": 8}, 107_586_947),
        ("cifar10-ncsn", {}, 30_117_635),
        ("cifar10-ncsnv2", {}, 29_694_083),
        ("fashion-mnist", {}, 1_115_297),
    ],
)
def test_recipes_build_networks_of_the_published_size(recipe, changes, count, no_values):
    table = read_recipe(recipe)
    model = ScoreModel(table["network"] | changes, table["process"], _shape(table))
    assert _count(model) == count


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_builds_a_model(recipe, no_values):
    table = read_recipe(recipe)
    preconditioning = {"sigma_data": 0.5} | table.get("preconditioning", {"name": "noise"})
    with torch.device("meta"):
        ScoreModel(
            table["network"], table["process"], _shape(table), preconditioning=preconditioning
        )
    json.dumps(table)


@pytest.mark.parametrize(("name", "extra"), BUILDS)
def test_samples_do_not_see_each_other_and_time_counts(name, extra):
    net = _build(name, extra)
    x = torch.randn(3, 6) if name == "mlp" else torch.randn(3, 3, 16, 16)
    t = torch.tensor([0.1, 0.5, 0.9])
    out = net(x, t)
    assert out.shape == x.shape
    assert torch.allclose(net(x[1:2], t[1:2]), out[1:2], atol=1e-4)
    assert (net(x, t.flip(0))[0] - out[0]).abs().max() > 1e-4


@pytest.mark.parametrize("name", TINY)
def test_no_label_is_a_label_of_its_own(name):
    net = _build(name, {"classes": 3})
    x = torch.randn(4, 6) if name == "mlp" else torch.randn(4, 3, 16, 16)
    t = torch.full((4,), 0.3)
    labelled = net(x, t, label=torch.tensor([0, 1, 2, -1]))
    alone = net(x, t)
    assert torch.equal(labelled[3], alone[3])
    assert all((labelled[i] - alone[i]).abs().max() > 1e-4 for i in range(3))
    with pytest.raises(ValueError, match="without classes"):
        _build(name)(x, t, label=torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("name", ["mlp", "edm-unet", "ncsnpp"])
def test_a_fresh_network_is_zero(name):
    torch.manual_seed(0)
    net = NETWORKS[name](**TINY[name]).eval()
    x = torch.randn(2, 6) if name == "mlp" else torch.randn(2, 3, 16, 16)
    assert not net(x, torch.rand(2)).any()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 17, 40), (1, 64, 48)])
def test_the_tutorial_network_takes_any_image_size(shape):
    net = UNet(in_channels=shape[0], channels=(32, 32, 64, 64), embed_dim=16)
    assert net(torch.zeros(2, *shape), torch.ones(2)).shape == (2, *shape)


def test_an_image_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="divisible by 4"):
        _build("edm-unet")(torch.zeros(1, 3, 18, 18), torch.ones(1))


def test_the_networks_are_exported():
    assert set(NETWORKS.values()) == {MLP, NCSN, EDMUNet, NCSNpp, UNet}


def test_filters_keep_constants_and_are_adjoint():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)
    y = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    assert torch.allclose((fir_down(x) * y).sum() * 4, (x * fir_up(y)).sum())
    ones = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    assert torch.allclose(fir_down(ones)[..., 1:-1, 1:-1], ones[..., :2, :2])
    assert torch.allclose(fir_up(ones)[..., 2:-2, 2:-2], ones[..., :1, :1].expand(1, 1, 12, 12))


def test_instance_normalisation_gives_the_means_back():
    """Shifting one channel changes nothing after instance normalisation, but here it does."""
    norm = InstanceNormPlus(4, levels=2).double()
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    index = torch.tensor([0, 1, 0])
    with torch.no_grad():
        norm.alpha.zero_()
        plain = F.instance_norm(x) * norm.gamma[index][..., None, None]
        assert torch.allclose(norm(x, index), plain)
        norm.alpha.fill_(1.0)
        mean = norm(x, index).mean(dim=(2, 3)) / norm.gamma[index]
    assert torch.allclose(mean.mean(1), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(mean.var(1, correction=0), torch.ones(3, dtype=torch.float64), atol=1e-2)
    assert torch.equal(mean.argsort(1), x.mean(dim=(2, 3)).argsort(1))
