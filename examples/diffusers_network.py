"""A network of diffusers: its scheduler says how it was trained, and any of our solvers runs it."""

import torch
from diffusers import DDPMScheduler, UNet2DModel

import sdesolve as ss

torch.manual_seed(0)
unet = UNet2DModel(  # or UNet2DModel.from_pretrained("google/ddpm-cifar10-32")
    sample_size=8, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
    down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
).eval()  # fmt: skip

process, score = ss.interop.diffusers.load(unet, DDPMScheduler())
sol = ss.sample(process, score, (4, 3, 8, 8), solver="dpmpp-2m", nfe=10, seed=0)
images = (sol.x / 2 + 0.5).clamp(0, 1)
print(sol)
print("images", tuple(images.shape), "in", [round(v.item(), 2) for v in images.aminmax()])
