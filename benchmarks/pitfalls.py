r"""Four pitfalls of learning and sampling a score, each measured and drawn.

1. Data on a manifold have no score: sliced score matching falls without bound. Noise gives one.
2. Where data are thin a learned score is wrong, although the loss is small.
3. Langevin dynamics does not see how much weight a mode has, even with the exact score.
4. Noise at many levels, annealed, mends all three with one network.

    python -m benchmarks.pitfalls            # a trial, under runs/benchmarks
    python -m benchmarks.pitfalls --write    # docs/pitfalls.md and its four figures

About a minute on one thread.

References:
    Song & Ermon 2019, sections 3 and 4, figures 1 to 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

import sdesolve as ss
from benchmarks import record
from scorezoo import objectives as ob

PROCESS = ss.EDM(sigma_min=0.05, sigma_max=20.0)


class Network(nn.Module):
    """Score of two-dimensional points: a perceptron around that of a Gaussian of the data's size.

    Args:
        size: Root mean square of the data.
    """

    def __init__(self, size: float = 1.0, hidden: int = 64) -> None:
        super().__init__()
        self.size = size
        self.layers = nn.Sequential(
            nn.Linear(7, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, 2),
        )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Score at ``x``, ``(batch, 2)``, and noise levels ``t``, ``(batch,)``."""
        s = t[:, None]
        total = (self.size**2 + s**2).sqrt()
        raw = self.layers(torch.cat([2 * x / total, x.sin(), x.cos(), s.log()], dim=1))
        value: Tensor = -x / total**2 + raw * self.size / (s * total)
        return value


def train(
    objective: ob.Objective,
    draw: Callable[[int, torch.Generator], Tensor],
    size: float,
    steps: int,
    batch: int = 512,
) -> tuple[Network, list[float]]:
    """Train a network on fresh data; returns it with its losses."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Network(size)
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        x0 = draw(batch, generator)
        t = objective.times(torch.rand(batch, generator=generator), PROCESS)
        noise = torch.randn(batch, objective.draws, 2, generator=generator)
        noise = noise if objective.draws > 1 else noise[:, 0]
        loss = objective.loss(net, PROCESS, x0, t, noise).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return net.requires_grad_(False), losses


def ring(n: int, generator: torch.Generator) -> Tensor:
    """Points on the unit circle, ``(n, 2)``."""
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def manifold(folder: Path, steps: int = 600) -> dict[str, float]:
    """Sliced score matching on a circle, as it is and blurred by 0.2."""

    class OneLevel(ob.SlicedObjective):
        """At one noise level; sigma^2 would only rescale the loss."""

        def __init__(self, sigma: float) -> None:
            super().__init__()
            object.__setattr__(self, "sigma", sigma)

        def times(self, uniform: Tensor, process: ss.Process) -> Tensor:
            return torch.full_like(uniform, 1.0)

        def loss(
            self,
            score: ss.scores.Score,
            process: ss.Process,
            x0: Tensor,
            t: Tensor,
            noise: Tensor,
            **cond: Tensor,
        ) -> Tensor:
            x = x0 + self.sigma * noise[:, 0]  # type: ignore[attr-defined]
            return ob.sliced_score_matching(score, x, t, noise[:, 1].sign())

    blur = 0.2
    _, bare = train(OneLevel(0.0), ring, 1.0, steps)
    _, blurred = train(OneLevel(blur), ring, 1.0, steps)
    # The blurred circle is a mixture to all digits: its least loss is -E|s|^2 / 2.
    angle = 2 * math.pi * torch.arange(200) / 200
    points = torch.stack([angle.cos(), angle.sin()], dim=1)
    generator = torch.Generator().manual_seed(5)
    x = ring(4000, generator) + blur * torch.randn(4000, 2, generator=generator)
    exact = ss.EmpiricalScore(points, PROCESS)(x, blur)
    floor = -0.5 * exact.square().sum(1).mean().item()
    figure, axis = plt.subplots(figsize=(5, 3.2))
    axis.plot(bare, label="circle: no score exists")
    axis.plot(blurred, label=f"circle blurred by {blur}")
    axis.axhline(floor, color="k", ls=":", label="least possible, blurred")
    axis.set(xlabel="step", ylabel="sliced score matching loss", yscale="symlog")
    axis.legend()
    _save(figure, folder / "pitfall_manifold.png")
    tail = max(1, steps // 20)
    return {
        "loss on the circle": sum(bare[-tail:]) / tail,
        "loss on the blurred circle": sum(blurred[-tail:]) / tail,
        "least possible on the blurred circle": floor,
    }


MODES = ss.GaussianMixture([0.2, 0.8], [[-4.0, -4.0], [4.0, 4.0]], 1.0)
SIZE = 6.0  # about the root mean square of a point of MODES


def modes(n: int, generator: torch.Generator) -> Tensor:
    """Points of two far Gaussians of weights 1/5 and 4/5, ``(n, 2)``."""
    k = (torch.rand(n, generator=generator) > 0.2).long()
    return MODES.means.float()[k] + torch.randn(n, 2, generator=generator)


def thin(folder: Path, steps: int = 600) -> dict[str, float]:
    """Error of a score learned at the noise level 0.3, where data are and where they are not."""
    sigma = 0.3
    net, _ = train(ob.SingleLevelObjective(sigma), modes, SIZE, steps)
    axis_points = torch.linspace(-8, 8, 81)
    grid = torch.cartesian_prod(axis_points, axis_points)
    level = torch.full((len(grid),), sigma)
    exact = MODES.score(PROCESS)(grid, level)
    error = (net(grid, level) - exact).norm(dim=1)
    log_p = MODES.log_prob(grid, PROCESS, level)
    generator = torch.Generator().manual_seed(3)
    x = modes(4000, generator) + sigma * torch.randn(4000, 2, generator=generator)
    level = torch.full((4000,), sigma)
    at_data = (net(x, level) - MODES.score(PROCESS)(x, level)).norm(dim=1)
    between = grid.sum(1).abs() < 2
    central = between & ((grid[:, 0] - grid[:, 1]).abs() < 4)
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.4))
    picture = axes[0].imshow(
        error.reshape(81, 81).T.numpy(), origin="lower", extent=(-8, 8, -8, 8), vmin=0, vmax=6
    )
    axes[0].scatter(*x[:400].T.numpy(), s=1, color="w")
    axes[0].set_title("error of the learned score, and data")
    figure.colorbar(picture, ax=axes[0])
    axes[1].scatter(log_p.numpy(), error.numpy(), s=2)
    axes[1].set(xlabel="log density", ylabel="error of the score", xlim=(-45, 0), yscale="log")
    _save(figure, folder / "pitfall_thin.png")
    return {
        "mean error where data are": at_data.mean().item(),
        "mean error halfway between the modes": error[central].mean().item(),
        "length of the exact score there": exact[central].norm(dim=1).mean().item(),
    }


def blind(folder: Path, moves: int = 1000) -> dict[str, float]:
    """Langevin dynamics and its Metropolis adjustment with the exact score of two far modes."""
    n = 400
    generator = torch.Generator().manual_seed(0)
    x = 16 * torch.rand(n, 2, generator=generator) - 8
    process = ss.EDM(sigma_min=0.3, sigma_max=20.0)
    score = MODES.score(process)
    energy = ss.scores.from_energy(lambda x, t: -MODES.log_prob(x, process, t))

    def share(x: Tensor) -> float:
        return (x.sum(-1) < 0).double().mean().item()

    plain = ss.chain(process, score, x, 0.3, corrector=ss.Langevin(0.8), corrections=moves)
    adjusted = ss.chain(
        process, energy, x, 0.3, corrector=ss.MALA(), corrections=moves - 50, warmup=50
    )
    annealed = ss.sample(
        process,
        score,
        (n, 2),
        solver=ss.Annealed(ss.Langevin(0.5, steps=max(1, moves // 40))),
        steps=39,
        grid=ss.LogSNR(),
        x=x,
    )
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharex=True, sharey=True)
    titles = {
        "drawn exactly": modes(n, generator),
        f"Langevin, {plain.calls} calls": plain.x,
        f"annealed, {annealed.calls} calls": annealed.x,
    }
    for axis, (title, points) in zip(axes, titles.items(), strict=True):
        axis.scatter(*points.T.numpy(), s=3)
        axis.set_title(f"{title}\nlower mode {share(points):.2f}", fontsize=9)
    _save(figure, folder / "pitfall_blind.png")
    return {
        "weight of the lower mode": 0.2,
        "of starting points nearer to it": share(x),
        "by Langevin": share(plain.x),
        "by Metropolis-adjusted Langevin": share(adjusted.x),
        "by annealed Langevin": share(annealed.x),
    }


CENTRES = torch.tensor([[-3.0, -3.0], [3.0, 3.0]])


def circles(n: int, generator: torch.Generator) -> Tensor:
    """Two far unit circles of weights 1/5 and 4/5: a manifold, thin data, and weights at once."""
    k = (torch.rand(n, generator=generator) > 0.2).long()
    return CENTRES[k] + ring(n, generator)


def annealing(folder: Path, steps: int = 1500) -> dict[str, float]:
    """One network for all noise levels and annealed Langevin, against one level and Langevin."""
    n, sigma = 1000, 0.15
    generator = torch.Generator().manual_seed(0)
    x = 12 * torch.rand(n, 2, generator=generator) - 6
    one, _ = train(ob.SingleLevelObjective(sigma), circles, 4.4, steps)
    chain = ss.SMLD(sigma, 12.0, 40)
    every, _ = train(ob.DiscreteObjective(chain), circles, 4.4, steps)
    plain = ss.chain(PROCESS, one, x, sigma, corrector=ss.Langevin(0.4), corrections=400).x
    solver = ss.Annealed(ss.Langevin(0.4, steps=10))
    annealed = ss.sample(PROCESS, every, (n, 2), solver=solver, grid=chain.times(PROCESS), x=x).x

    def off(points: Tensor) -> Tensor:
        """Distance from the nearer circle."""
        return (torch.cdist(points, CENTRES).min(1).values - 1).abs()

    def summary(points: Tensor) -> tuple[float, float]:
        return (points.sum(1) < 0).double().mean().item(), (
            off(points) > 4 * sigma
        ).double().mean().item()

    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharex=True, sharey=True)
    sets = {
        "data": circles(n, generator),
        "one level, Langevin": plain,
        "all levels, annealed": annealed,
    }
    numbers = {}
    for axis, (title, points) in zip(axes, sets.items(), strict=True):
        weight, astray = summary(points)
        numbers[f"{title}: weight of the lower circle"] = weight
        numbers[f"{title}: share astray"] = astray
        axis.scatter(*points.T.numpy(), s=2)
        axis.set(xlim=(-7, 7), ylim=(-7, 7))
        axis.set_title(f"{title}\nlower {weight:.2f}, astray {astray:.2f}", fontsize=9)
    _save(figure, folder / "pitfall_annealing.png")
    return numbers


def _save(figure: plt.Figure, path: Path) -> None:
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the four demonstrations and write them up."""
    place = record.place(record.parser(__doc__).parse_args(argv))
    lines = [
        "# Pitfalls of learning and sampling a score",
        "",
        "`python -m benchmarks.pitfalls`",
        "",
    ]
    for demonstration, title in (
        (manifold, "Data on a manifold have no score"),
        (thin, "Where data are thin the learned score is wrong"),
        (blind, "Langevin dynamics is blind to the weights of modes"),
        (annealing, "Annealing mends all three"),
    ):
        numbers = demonstration(place.docs)
        lines += [f"## {title}", "", f"![{title}](pitfall_{demonstration.__name__}.png)", ""]
        lines += [f"- {name}: {value:.3g}" for name, value in numbers.items()] + [""]
        print("\n".join(lines[-len(numbers) - 1 :]))
        place.wrote(place.docs / f"pitfall_{demonstration.__name__}.png")
    place.page("pitfalls.md", "\n".join(lines))
    place.finish()


if __name__ == "__main__":
    main()
