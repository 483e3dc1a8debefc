"""Keep your diffusers pipeline and take our solver: one line, the same image as ss.sample."""

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

import sdesolve as ss

torch.manual_seed(0)
unet = UNet2DModel(
    sample_size=8, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
    down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
).eval()  # fmt: skip
pipe = DDPMPipeline(unet, DDPMScheduler())  # or DDPMPipeline.from_pretrained(...)
pipe.set_progress_bar_config(disable=True)
process, score = ss.interop.diffusers.load(pipe)

pipe.scheduler = ss.interop.diffusers.as_scheduler("dpmpp-2m-sde", scheduler=pipe.scheduler)
generator = torch.Generator().manual_seed(3)
image = pipe(num_inference_steps=10, generator=generator, output_type="np").images[0]

x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
sol = ss.sample(process, score, x.shape, x=x, solver="dpmpp-2m-sde", steps=10, seed=3)
mine = (sol.x / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0)
print(f"largest difference {(torch.from_numpy(image) - mine).abs().max():.1e}")
