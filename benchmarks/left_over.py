"""What is left of a fitted solver's error: is it a function of what the network said?

    python -m benchmarks.left_over --write

A method of few calls returns a function of its evaluations. If the rest of its error could be told
from them, a richer last step would gain; if not, no coefficients can, and only other times and
states in between are left. So the error of the end points is regressed on all evaluations, the last
state and the noise, on two thirds of the samples, and judged on the others: with a weight for every
spatial frequency, for every pixel, for products of a pixel's values, and by a small convolutional
network. Figures are RMSE over that of the solver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from scipy.fft import dctn
from torch import Tensor, nn

import scorezoo
import sdesolve as ss
from benchmarks import record
from sdesolve.shapes import expand_like
from sdesolve.tuning.paths import solve_finely

NAME = "left_over"
MODELS = ("fashion-mnist", "fashion-mnist-edm")
SEED, FIRST, FINE = 5, 50_000, 40
RIDGE = 1e-2
WIDTH, EPOCHS, BATCH = 16, 25, 32


def evaluations(name: str, nfe: int, count: int) -> tuple[Tensor, Tensor]:
    """Errors ``(n, *event)`` of the solver that ships, and what it knew ``(n, *event, k)``."""
    model = scorezoo.load(name)
    process = model.process
    x = process.prior(model.shape).sample(count, seed=SEED, first=FIRST, dtype=torch.float32)
    labels = torch.arange(count) % (model.classes + 1) - 1
    cond = {"label": labels} if model.classes else {}
    exact = solve_finely(process, model.score, x, cond, path=False, steps=FINE).path[-1]
    known = [x]

    def score(y: Tensor, t: Tensor, **given: Any) -> Tensor:
        out: Tensor = model.score(y, t, **given)
        sigma, alpha = (expand_like(v(t).to(y), y) for v in (process.sigma, process.alpha))
        known.extend([y.clone(), (y + sigma**2 * out) / alpha])
        return out

    solver = model.tuned[nfe]
    end = ss.sample(process, score, x.shape, solver=solver, nfe=nfe, x=x, cond=cond).x
    # The noise, all evaluations, and the last state that was shown.
    return exact - end, torch.stack([x, *known[2::2], known[-2]], -1)


def by_weights(error: Tensor, known: Tensor, train: slice, test: slice) -> float:
    """Ridge regression, a weight for every place: places ``(n, p)``, known ``(n, p, k)``."""
    a = torch.einsum("npk,npl->pkl", known[train], known[train])
    b = torch.einsum("npk,np->pk", known[train], error[train])
    ridge = RIDGE * a.diagonal(dim1=1, dim2=2) + 1e-9
    weights = torch.linalg.solve(a + torch.diag_embed(ridge), b)
    return _rms(error[test] - torch.einsum("npk,pk->np", known[test], weights))


def by_network(error: Tensor, known: Tensor, train: slice, test: slice) -> float:
    """A convolutional network of three layers."""
    images = known.squeeze(1).movedim(-1, 1).float()
    scale = error[train].std()
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        net = nn.Sequential(
            nn.Conv2d(images.shape[1], WIDTH, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(WIDTH, 1, 3, padding=1),
        )
        optimizer = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(EPOCHS):
            for rows in torch.split(torch.randperm(train.stop), BATCH):
                loss = (net(images[rows]) - error[rows] / scale).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    with torch.no_grad():
        return _rms(error[test] - scale * net(images[test]))


def measure(name: str, nfe: int, count: int) -> dict[str, float]:
    """What is left of the error by each regression, over the error."""
    with torch.no_grad():
        error, known = evaluations(name, nfe, count)
    train, test = slice(0, 2 * count // 3), slice(2 * count // 3, count)
    before = _rms(error[test])
    pixels, values = error.double().flatten(1), known.double().flatten(1, -2)
    last, rest = values[..., -2:-1], values[..., :-2] - values[..., -2:-1]
    products = torch.cat([values, rest * last, rest * last**2, rest.abs(), rest * rest.abs()], -1)
    shared = products.reshape(-1, 1, products.shape[-1])
    size = pixels.shape[1]

    def flat(rows: slice) -> slice:
        return slice((rows.start or 0) * size, rows.stop * size)

    def frequencies(images: Tensor) -> Tensor:
        return torch.from_numpy(dctn(images.double().numpy(), axes=(2, 3), norm="ortho"))

    errors = {
        "a weight for every frequency": by_weights(
            frequencies(error).flatten(1), frequencies(known).flatten(1, -2), train, test
        ),
        "a weight for every pixel": by_weights(pixels, values, train, test),
        "products of a pixel's values": by_weights(
            pixels.reshape(-1, 1), shared, flat(train), flat(test)
        ),
        "a small network": by_network(error, known, train, test),
    }
    return {"rmse": float(f"{before:.3g}")} | {
        k: float(f"{v / before:.3f}") for k, v in errors.items()
    }


def _rms(error: Tensor) -> float:
    return error.double().square().mean().sqrt().item()


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write the table."""
    parser = record.parser(__doc__)
    parser.add_argument(
        "--models", nargs="+", default=list(MODELS), choices=MODELS, help="networks"
    )
    parser.add_argument("--budgets", nargs="+", type=int, default=[5, 8], help="calls")
    parser.add_argument("--count", type=int, default=768, help="samples")
    arguments = parser.parse_args(argv)
    place = record.place(arguments)
    rows = {
        f"{name} | {nfe}": measure(name, nfe, arguments.count)
        for name in arguments.models
        for nfe in arguments.budgets
    }
    place.write(NAME, {"machine": record.machine(), "count": arguments.count, "rows": rows})
    kinds = list(next(iter(rows.values())))
    body = [[*key.split(" | "), *(f"{v:.3g}" for v in row.values())] for key, row in rows.items()]
    place.section("left-over", record.table(["network", "calls", *kinds], body))
    place.finish()


if __name__ == "__main__":
    main()
