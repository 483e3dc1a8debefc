"""Networks of diffusers that are not 2-d U-nets, small and random, beside its own schedulers."""

import dataclasses

import pytest
import torch

import sdesolve as ss

diffusers = pytest.importorskip("diffusers")

from .test_diffusers import NO_CLIP, apart, scheduler  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def other_networks():
    """Name, network, shape and condition of networks other than 2-d U-nets, small and random."""
    generator = torch.Generator().manual_seed(5)

    def text(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    blocks_1d = {
        "down_block_types": ("DownResnetBlock1D",) * 2,
        "mid_block_type": "MidResTemporalBlock1D",
    }
    return {
        "dit": lambda: (
            diffusers.DiTTransformer2DModel(
                num_attention_heads=2, attention_head_dim=4, in_channels=4, out_channels=8,
                num_layers=1, norm_num_groups=4, sample_size=8, patch_size=2,
                num_embeds_ada_norm=10,
            ),
            (2, 4, 8, 8),
            {"class_labels": torch.tensor([1, 2])},
        ),
        "unet-1d": lambda: (
            diffusers.UNet1DModel(
                sample_size=16, in_channels=2, out_channels=2, block_out_channels=(8, 8),
                norm_num_groups=4, layers_per_block=1, act_fn="swish", freq_shift=1,
                flip_sin_to_cos=False, use_timestep_embedding=True, downsample_each_block=False,
                time_embedding_type="positional", out_block_type="OutConv1DBlock",
                up_block_types=("UpResnetBlock1D",) * 2, **blocks_1d,
            ),
            (2, 2, 16),
            {},
        ),
        "unet-1d-audio": lambda: (
            diffusers.UNet1DModel(
                sample_size=32, in_channels=2, out_channels=2, block_out_channels=(32, 32),
                norm_num_groups=4, layers_per_block=1, extra_in_channels=64,
                down_block_types=("DownBlock1DNoSkip", "DownBlock1D"),
                up_block_types=("UpBlock1D", "UpBlock1DNoSkip"),
            ),
            (2, 2, 32),
            {},
        ),
        "unet-3d": lambda: (
            diffusers.UNet3DConditionModel(
                sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 8),
                norm_num_groups=4, layers_per_block=1, cross_attention_dim=8,
                attention_head_dim=4,
                down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
                up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            ),
            (2, 4, 3, 8, 8),
            {"encoder_hidden_states": text(2, 5, 8)},
        ),
        "sd3": lambda: (
            diffusers.SD3Transformer2DModel(
                sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1,
                attention_head_dim=8, num_attention_heads=2, joint_attention_dim=16,
                caption_projection_dim=16, pooled_projection_dim=16, pos_embed_max_size=8,
            ),
            (2, 4, 8, 8),
            {"encoder_hidden_states": text(2, 5, 16), "pooled_projections": text(2, 16)},
        ),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["dit", "unet-1d", "unet-1d-audio", "unet-3d", "sd3"])
def test_transformers_and_networks_of_one_and_three_dimensions(kind):
    """DDIM, or for SD3 its Euler of flow matching with shift 3, on networks of every shape."""
    torch.manual_seed(0)
    net, shape, cond = other_networks()[kind]()
    net = net.eval().requires_grad_(False).double()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if kind == "sd3":
        peer = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
        process = ss.RectifiedFlow(T=1 - 1e-9)
        score = dataclasses.replace(ss.interop.diffusers.load(net, peer)[1], process=process)
    else:
        peer = scheduler("DDIMScheduler", "linear", **NO_CLIP)
        process, score = ss.interop.diffusers.load(net, peer)
    grid = ss.interop.diffusers.grid(peer, 5, process)
    sol = ss.sample(process, score, shape, x=x, grid=grid, solver=ss.solver("ddim"), cond=cond)
    peer.set_timesteps(5)
    other = x
    for t in peer.timesteps:
        out = net(other, timestep=t.expand(2), **cond).sample
        out = out[:, : shape[1]]  # a DiT has learned variances
        other = peer.step(out, t, other, return_dict=False)[0].double()
    assert apart(sol.x, other) < 2e-6
