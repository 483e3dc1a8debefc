"""Points on their way from noise to data, by the flow and by the reverse SDE."""

import argparse
from pathlib import Path

import numpy as np

import scorezoo
import sdesolve as ss
from scorezoo.pictures import points_picture, save_png

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--output", type=Path, default="trajectories.png", help="picture")
output = parser.parse_args().output

model = scorezoo.load("toy-moons")
times = [1.0, 0.5, 0.25, 0.1, model.process.eps]
pictures = []
for solver in ("heun", "euler-maruyama"):
    sol = ss.sample(
        model.process, model.score, (1000, 2), solver=solver, nfe=100, seed=0, save_at=times
    )
    spread = [f"{x.std():.2f}" for x in sol.path]
    print(f"{solver}: standard deviation {', '.join(spread)} at sigma {times}")
    pictures.append(points_picture(list(sol.path), size=1.8))
save_png(output, np.concatenate(pictures), scale=1)
