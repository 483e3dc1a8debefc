"""What half of an image says about the other half: samples of the posterior."""

import argparse
from pathlib import Path

import torch

import scorezoo
import sdesolve as ss
from scorezoo.pictures import grid, save_png

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--output", type=Path, default="inpainting.png", help="picture")
output = parser.parse_args().output

model = scorezoo.load("fashion-mnist-edm")
labels = torch.tensor([0, 9, 8])
images = ss.sample(
    model.process, model.score, (3, *model.shape), nfe=30, seed=4, cond={"label": labels}
).x
seen = torch.zeros(model.shape, dtype=torch.bool)
seen[:, :14] = True  # the upper half

A = ss.inverse.Mask(seen)
rows = []
for image in images:
    y = A(image[None])
    posterior = ss.inverse.posterior(model.process, model.score, A, y, noise=0.05, method="ddrm")
    drawn = ss.sample(
        model.process, posterior, (6, *model.shape), nfe=50, seed=0, stochasticity=1.0
    ).x
    rows += [image[None], torch.where(seen, image, -1.0)[None], drawn]
    print(f"where it was seen: distance {(drawn - image)[:, seen].square().mean().sqrt():.3f}")
save_png(output, grid(model.to_pixels(torch.cat(rows)), 8))
