"""Labels and their weight: a class in every column, a larger weight in every row."""

import argparse
from pathlib import Path

import torch

import scorezoo
import sdesolve as ss
from scorezoo.pictures import grid, save_png

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--output", type=Path, default="guidance.png", help="picture")
output = parser.parse_args().output

model = scorezoo.load("fashion-mnist-edm")
cond = {"label": torch.arange(10)}

rows = []
for weight in (0.0, 1.0, 2.0, 4.0):  # 0: the label is not heard; 1: plain conditional sampling
    score = ss.conditional.classifier_free_guidance(model.score, weight)
    sol = ss.sample(model.process, score, (10, *model.shape), nfe=20, seed=1, cond=cond)
    rows.append(sol.x)
    print(f"weight {weight}: spread over the classes {sol.x.std(0).mean():.2f}")
save_png(output, grid(model.to_pixels(torch.cat(rows)), 10))
