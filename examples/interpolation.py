"""From image to image along their latents, and straight through the pixels."""

import argparse
from pathlib import Path

import torch

import scorezoo
import sdesolve as ss
from scorezoo.pictures import grid, save_png

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--output", type=Path, default="interpolation.png", help="picture")
output = parser.parse_args().output

model = scorezoo.load("fashion-mnist-edm")
images = ss.sample(
    model.process,
    model.score,
    (2, *model.shape),
    nfe=30,
    seed=2,
    cond={"label": torch.tensor([9, 7])},
).x  # a boot and a sneaker, of which there is no file here

start, end = images[:1], images[1:]
method = {"solver": "heun", "steps": 25}
latents = ss.interpolate(model.process, model.score, start, end, points=8, **method)
weights = torch.linspace(0, 1, 8).reshape(8, 1, 1, 1)
pixels = (1 - weights) * start + weights * end
between = latents.x.reshape(8, *model.shape)
back = (between[0] - start[0]).square().mean().sqrt()
print(f"the first image, there and back: off by {back:.3f}; {latents.nfe.max()} calls")
save_png(output, grid(model.to_pixels(torch.cat([between, pixels])), 8))
