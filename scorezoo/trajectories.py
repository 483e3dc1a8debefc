r"""How samples come out of noise, as a strip of pictures or an animation.

A state :math:`x_t = \alpha x_0 + \sigma z` is shown at the scale of data: with s a quarter of the
range as the data's own spread, divided by :math:`\sqrt{\alpha^2 s^2 + \sigma^2} / s` and moved to
the middle of the range by the share of noise in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .files import write_atomically
from .pictures import grid, save_png

if TYPE_CHECKING:
    import sdesolve as ss

    from .model import ScoreModel

__all__ = ["at_scale_of_data", "draw_path"]

COLUMNS = 10
"""Times that a strip shows, at most."""

SECONDS = 3.0
"""How long an animation takes, without the stop at its end."""


def at_scale_of_data(
    x: Tensor, alpha: Tensor, sigma: Tensor, data_range: tuple[float, float]
) -> Tensor:
    """States ``(times, batch, *event)`` as data; alpha and sigma are ``(times,)``."""
    low, high = data_range
    spread = (high - low) / 4
    ones = (1,) * (x.ndim - 1)
    alpha, sigma = (v.to(x).reshape(-1, *ones) for v in (alpha, sigma))
    total = (alpha**2 * spread**2 + sigma**2).sqrt()
    return x * (spread / total) + (low + high) / 2 * (sigma / total) ** 2


def draw_path(path: Path, solution: ss.Solution, model: ScoreModel) -> None:
    """Write the way of a few samples: ``.png`` a strip, a row each; ``.gif`` an animation.

    Raises:
        ValueError: If the solver kept no path, or these are neither images nor points of the plane.
    """
    if solution.path is None or solution.t is None or len(solution.t) < 3:
        raise ValueError("--path takes a solver of fixed steps: adaptive ones have none in common")
    states, t = solution.path.cpu(), solution.t.cpu().double()
    alpha, sigma = model.process.alpha(t), model.process.sigma(t)
    if path.suffix == ".png":
        chosen = torch.linspace(0, len(t) - 1, min(COLUMNS, len(t))).round().long()
        states, alpha, sigma = states[chosen], alpha[chosen], sigma[chosen]
    x = at_scale_of_data(states, alpha, sigma, model.data_range)
    if len(model.shape) != 3:
        _points(path, x)
        return
    frames = [model.to_pixels(frame.nan_to_num()) for frame in x]
    if path.suffix == ".png":
        rows = torch.stack(frames, dim=1).flatten(0, 1)
        save_png(path, grid(rows, columns=len(frames)), scale=2)
    else:
        _animate(path, [grid(frame) for frame in frames], scale=3)


def _animate(path: Path, arrays: list[np.ndarray], scale: int = 1) -> None:
    from PIL import Image

    frames = [Image.fromarray(a.repeat(scale, axis=0).repeat(scale, axis=1)) for a in arrays]
    each = max(20, int(1000 * SECONDS / len(frames)))
    times = [each] * (len(frames) - 1) + [1500]

    def write(temporary: Path) -> None:
        frames[0].save(
            temporary, "gif", save_all=True, append_images=frames[1:], duration=times, loop=0
        )

    write_atomically(path, write)


def _points(path: Path, x: Tensor) -> None:
    """Points of the plane, ``(times, n, 2)``: panels side by side, or frames."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if x.ndim != 3 or x.shape[2] != 2:
        raise ValueError(f"--path draws images, or points of the plane; not {tuple(x.shape[2:])}")
    x = x.nan_to_num()
    reach = float(x.abs().amax()) * 1.05
    strip = path.suffix == ".png"
    panels = len(x) if strip else 1
    figure, axes = pyplot.subplots(
        1, panels, figsize=(1.5 * panels if strip else 4, 1.5 if strip else 4), squeeze=False
    )
    figure.subplots_adjust(0, 0, 1, 1, 0.02, 0.02)
    arrays = []
    for i, points in enumerate(x):
        axis = axes[0, i if strip else 0]
        axis.clear()
        axis.scatter(points[:, 0], points[:, 1], s=2, color="k", lw=0)
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
        if not strip:
            figure.canvas.draw()
            arrays.append(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    if strip:
        write_atomically(path, lambda p: figure.savefig(p, format="png", dpi=110))
    else:
        _animate(path, arrays)
    pyplot.close(figure)
