"""The same noise with more and more calls, a row for each solver."""

import argparse
from pathlib import Path

import torch

import scorezoo
import sdesolve as ss
from scorezoo.pictures import grid, save_png

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--output", type=Path, default="calls_and_solvers.png", help="picture")
output = parser.parse_args().output

model = scorezoo.load("fashion-mnist-edm")
SOLVERS = ("ddim", "heun", "dpmpp-2m", None)  # None: the best known one, here tuned for the budget
CALLS = (4, 6, 8, 10, 15, 20)
exact = ss.sample(model.process, model.score, (1, *model.shape), solver="heun", nfe=200, seed=3).x

rows = []
for solver in SOLVERS:
    made = [
        ss.sample(model.process, model.score, (1, *model.shape), solver=solver, nfe=nfe, seed=3).x
        for nfe in CALLS
    ]
    apart = [f"{(x - exact).square().mean().sqrt():.2f}" for x in made]
    print(f"{solver or 'by default':12} distance to 200 calls at {CALLS}:", ", ".join(apart))
    rows += [*made, exact]
save_png(output, grid(model.to_pixels(torch.cat(rows)), len(CALLS) + 1))
