"""Checkpoints in score_sde's layout: random weights, named and shaped as published."""

import pytest
import torch
from torch import nn

import sdesolve as ss
from scorezoo.networks import NCSNpp

DDPMPP = {"channels": 16, "multipliers": (1, 2), "blocks": 2, "attention": (1,)}
NCSNPP = {
    **DDPMPP,
    "fir": True,
    "progressive_input": "residual",
    "progressive": "none",
    "embedding": "fourier",
}
SKIPS = {**DDPMPP, "progressive_input": "input_skip", "progressive": "output_skip"}

INSIDE = {
    "_Block": ["GroupNorm_0", "Conv_0", "Dense_0", "GroupNorm_1", "Conv_1", "Conv_2"],
    "_Attention": ["GroupNorm_0", "NIN_0", "NIN_1", "NIN_2", "NIN_3"],
    "FIRDownConv": ["Conv2d_0"],
    "_Down": ["Conv_0"],
}


def published(network):
    """A network's weights by the names, and in the shapes, of the published code."""
    state, index = {"sigmas": torch.ones(10)}, 0
    for module in network.published_modules():
        kind = type(module).__name__
        if kind == "FourierFeatures":
            state[f"all_modules.{index}.W"] = module.frequencies.detach().clone()
        elif kind in INSIDE:
            layers = [
                m for m in module.children() if isinstance(m, nn.Conv2d | nn.Linear | nn.GroupNorm)
            ]
            for name, layer in zip(INSIDE[kind], layers, strict=False):
                weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
                nin = name.startswith("NIN")
                names = ("W", "b") if nin else ("weight", "bias")
                state[f"all_modules.{index}.{name}.{names[0]}"] = (
                    weight[:, :, 0, 0].T.contiguous() if nin else weight
                )
                state[f"all_modules.{index}.{name}.{names[1]}"] = bias
        else:
            state[f"all_modules.{index}.weight"] = module.weight.detach().clone()
            state[f"all_modules.{index}.bias"] = module.bias.detach().clone()
        index += 1
    return state


def random(seed, **options):
    torch.manual_seed(seed)
    network = NCSNpp(**options).eval()
    for p in network.parameters():
        nn.init.normal_(p, std=0.1)
    return network


@pytest.mark.parametrize("options", [DDPMPP, NCSNPP, SKIPS], ids=["ddpm++", "ncsn++", "skips"])
def test_every_weight_arrives_where_it_belongs(options, tmp_path):
    source, target = random(1, **options), random(2, **options)
    x, t = torch.randn(2, 3, 8, 8), torch.rand(2)
    averaged = random(3, **options)
    learned = [
        v for k, v in published(averaged).items() if k != "sigmas" and k != "all_modules.0.W"
    ]
    if "embedding" not in options:
        learned = [v for k, v in published(averaged).items() if k != "sigmas"]
    held = {
        "model": {f"module.{k}": v for k, v in published(source).items()},
        "ema": {"shadow_params": learned, "decay": 0.999},
        "step": 7,
    }
    torch.save(held, tmp_path / "checkpoint.pth")
    ve = "embedding" in options
    process = ss.VESDE() if ve else ss.VPSDE()
    _, score = ss.interop.score_sde.load(tmp_path / "checkpoint.pth", target, process, ema=False)
    assert torch.equal(target(x, t), source(x, t))
    sigma = process.sigma(t).reshape(-1, 1, 1, 1)
    expected = source(x, process.sigma(t).log()) / sigma if ve else -source(x, t) / sigma
    assert torch.allclose(score(x, t), expected)
    ss.interop.score_sde.load(held, target, process)
    if ve:
        averaged.embed[0].frequencies.data.copy_(source.embed[0].frequencies)
    assert torch.equal(target(x, t), averaged(x, t))


def test_another_architecture_is_refused():
    state, process = published(random(1, **DDPMPP)), ss.VPSDE()
    with pytest.raises(ValueError, match="different architectures"):
        ss.interop.score_sde.load(state, random(2, **{**DDPMPP, "blocks": 1}), process)
    with pytest.raises(ValueError, match="shape"):
        ss.interop.score_sde.load(state, random(2, **{**DDPMPP, "channels": 32}), process)
    with pytest.raises(ValueError, match="not a tensor of the published"):
        ss.interop.score_sde.load(
            {**state, "head.weight": torch.ones(1)}, random(2, **DDPMPP), process
        )
    with pytest.raises(TypeError, match="NCSNpp"):
        ss.interop.score_sde.load(state, nn.Linear(1, 1), process)
    with pytest.raises(ValueError, match="ema=False"):
        ss.interop.score_sde.load(
            {"model": state, "ema": {"shadow_params": [torch.ones(1)]}},
            random(2, **DDPMPP),
            process,
        )


def test_the_published_size():
    """CIFAR-10's DDPM++: 61.8 million parameters, without allocating them."""
    with torch.device("meta"):
        network = NCSNpp(channels=128, multipliers=(1, 2, 2, 2), blocks=4, attention=(1,))
    assert sum(p.numel() for p in network.parameters()) == 61_804_419
    modules = network.published_modules()
    held = sum(p.numel() for m in modules for p in m.parameters())
    assert held == sum(p.numel() for p in network.parameters())
