"""Problems that judge solvers: a process, a score, noise to start from, and where it should lead.

The claim is about the *same score from the same noise*: the reference is the converged end point of
the probability flow of that score, found by a fine solve and checked against a finer one. Closed
forms have fresh truth besides, for distances between distributions.

===============  =====  ========================================================================
name             size   what
===============  =====  ========================================================================
gauss64          64     one Gaussian, rotated, variances j^-2 scaled to a mean of 1/4
lr64             64     10 components, low rank plus diagonal, power-law variances
held48           48     6 components of another seed, spectrum and rank: looked at by no tuning
grid25           2      5 x 5 modes, spacing 2, standard deviation 0.1
guided64         64     classes of lr64, classifier-free guidance of scale 3 in closed form
fashion-exact    784    the exact score of 2,000 Fashion-MNIST images, each blurred by 0.1
fashion-mnist    784    the network that ships with scorezoo
===============  =====  ========================================================================

Closed forms run from sigma/alpha = 80 to 0.002, in any of three descriptions: EDM, VE and VP.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import scorezoo
import sdesolve as ss
from benchmarks import record
from scorezoo.data import load_images, write_atomically

__all__ = ["DESCRIPTIONS", "PROBLEMS", "Problem", "problem"]

HIGH, LOW = 80.0, 0.002
IMAGES = "zalando-datasets/fashion_mnist"
CACHE = record.ROOT / "runs" / "nfe_quality"


@dataclass(frozen=True)
class Problem:
    """One problem in one description.

    Args:
        name: Its name in the tables.
        process: Noising process.
        score: Callable ``(x, t, **cond)``.
        event: Event shape.
        data: ``(n, seed) -> (n, *event)``, fresh samples of the truth; None where there is none.
        dtype: What the score computes in.
        count: Samples of the deterministic comparison.
        batch: Most samples in one call of the score.
        labels: Number of classes, for guidance; 0 without.
        pixels: Data to bytes, for image problems.
        train: ``n -> (n, *event)``, what references and tuning see, if not fresh truth.
        flow: Initial noise to exact end points, where that is a closed form.
    """

    name: str
    process: ss.Process
    score: ss.scores.Score
    event: tuple[int, ...]
    data: Callable[[int, int], Tensor] | None = None
    dtype: torch.dtype = torch.float64
    count: int = 256
    batch: int = 4096
    labels: int = 0
    pixels: Callable[[Tensor], Tensor] | None = field(default=None, compare=False)
    train: Callable[[int], Tensor] | None = field(default=None, compare=False)
    flow: Callable[[Tensor], Tensor] | None = field(default=None, compare=False)

    @property
    def ends(self) -> tuple[float, float]:
        """Noise levels sigma/alpha at T and at eps."""
        p = self.process
        return math.exp(-p.log_snr(p.T)), math.exp(-p.log_snr(p.eps))

    def noise(self, n: int, seed: int) -> Tensor:
        """Initial noise x_T; sample i depends on (seed, i) only."""
        return self.process.prior(self.event).sample(n, seed=seed, dtype=self.dtype)

    def training(self, n: int) -> Tensor | None:
        """Data for references and tuning, apart from what judges; None where there are none."""
        if self.train is not None:
            return self.train(n)
        return None if self.data is None else self.data(n, 20_001)

    def cond(self, n: int) -> Mapping[str, Tensor]:
        """Labels, if the score takes any."""
        return {"label": torch.arange(n) % self.labels} if self.labels else {}

    def exact(self, n: int, seed: int) -> tuple[Tensor, float]:
        """Converged end points from :meth:`noise`, and how far a rougher solve is from them.

        The distance is a root mean square over samples, as that of the solvers. Both come from the
        disk if they were computed before.

        Raises:
            ValueError: If labels, which go round in turn, would not fall on the same samples when
                the noises of several seeds are put together.
        """
        if self.labels and n % self.labels:
            raise ValueError(f"samples of a seed must be a multiple of {self.labels}, got {n}")
        if self.flow is not None:
            return self.flow(self.noise(n, seed)), 0.0
        text = f"{self.name} {self.process!r} {n} {seed} {self.dtype} {self.fingerprint()}"
        path = CACHE / f"exact-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"
        if not path.exists():
            x = self.noise(n, seed)
            rough, fine = (self._solve(x, finer) for finer in (False, True))
            gap = (fine - rough).flatten(1).norm(dim=1).square().mean().sqrt()
            state = {"x": fine, "gap": gap.double()}
            write_atomically(path, lambda p: save_file(state, p))
        stored = load_file(path)
        return stored["x"], float(stored["gap"])

    def _solve(self, x: Tensor, finer: bool) -> Tensor:
        """Adaptive where the score has the digits for it, fixed steps in log-SNR elsewhere."""
        solver: ss.AdaptiveODE | ss.RK4
        if self.dtype == torch.float64:
            tolerance = 1e-8 if finer else 1e-6
            solver, steps, grid = ss.AdaptiveODE(rtol=tolerance, atol=tolerance), None, None
        else:
            solver, steps, grid = ss.RK4(), 200 if finer else 100, ss.LogSNR()
        return ss.sample(
            self.process,
            self.score,
            x.shape,
            solver=solver,
            steps=steps,
            grid=grid,
            clock=ss.LogSNR(),
            x=x,
            batch_size=self.batch,
            cond=self.cond(len(x)),
        ).x

    def fingerprint(self) -> str:
        """A number that changes when the score does."""
        x = self.noise(2, 12345)
        t = torch.full((2,), self.process.time(0.0), dtype=self.dtype)
        return f"{self.score(x, t, **self.cond(2)).double().sum().item():.6e}"


def edm() -> ss.Process:
    """Noise levels themselves."""
    return ss.EDM(LOW, HIGH)


def ve() -> ss.Process:
    """Geometric noise levels, reaching LOW at eps."""
    below = LOW / 2
    return ss.VESDE(below, HIGH, eps=math.log(LOW / below) / math.log(HIGH / below))


def vp() -> ss.Process:
    """Variance preserving, linear beta, with the same range of sigma/alpha."""
    process = ss.VPSDE(0.1, 2 * math.log1p(HIGH**2) - 0.1)
    return ss.VPSDE(0.1, process.beta_max, eps=process.time(-math.log(LOW)))


DESCRIPTIONS: dict[str, Callable[[], ss.Process]] = {"edm": edm, "ve": ve, "vp": vp}


def _rotation(d: int, generator: torch.Generator) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
    out: Tensor = q * r.diagonal().sign()
    return out


def _power_law(d: int, exponent: float) -> Tensor:
    """Variances j^-exponent with a mean of 1/4: the data's standard deviation is 1/2."""
    c = torch.arange(1, d + 1, dtype=torch.float64) ** -exponent
    return c * (0.25 * d / c.sum())


def _mixture(d: int, components: int, rank: int, exponent: float, seed: int) -> ss.GaussianMixture:
    """Means and low-rank factors drawn from one rotated power law, plus a small diagonal of it.

    Half of the variance is between components, the rest within.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    basis, c = _rotation(d, generator), _power_law(d, exponent)
    means = normal(components, d) * (0.5 * c).sqrt()
    factors = normal(components, rank, d) * (0.45 * c / rank).sqrt()
    covariances = factors.mT @ factors + torch.diag(0.05 * c)
    weights = torch.rand(components, generator=generator, dtype=torch.float64) + 0.5
    return ss.GaussianMixture(weights, means @ basis.T, basis @ covariances @ basis.T)


def _closed(name: str, mix: ss.GaussianMixture, process: ss.Process, count: int = 256) -> Problem:
    return Problem(
        name,
        process,
        mix.score(process),
        mix.event_shape,
        lambda n, seed: mix.sample(n, seed=seed),
        count=count,
    )


def _gauss64(process: ss.Process) -> Problem:
    basis = _rotation(64, torch.Generator().manual_seed(3))
    covariance = basis @ torch.diag(_power_law(64, 2.0)) @ basis.T
    mean = 0.5 * torch.randn(64, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    data = ss.Gaussian(mean, (covariance + covariance.T) / 2)
    return replace(
        _closed("gauss64", data, process),
        flow=lambda x: data.flow(x, process, process.T, process.eps),
    )


def _lr64() -> ss.GaussianMixture:
    return _mixture(64, 10, 6, 2.0, seed=64)


def _grid25(process: ss.Process) -> Problem:
    line = torch.arange(-4.0, 5.0, 2.0, dtype=torch.float64)
    return _closed(
        "grid25",
        ss.GaussianMixture([1.0] * 25, torch.cartesian_prod(line, line), 0.01),
        process,
        count=2048,
    )


def _guided64(process: ss.Process) -> Problem:
    """s = s_all + 3 (s_class - s_all); a class is two neighbouring components of lr64."""
    mix, classes, scale = _lr64(), 5, 3.0
    whole = mix.score(process)
    parts = []
    for k in range(classes):
        rows = slice(2 * k, 2 * k + 2)
        part = ss.GaussianMixture(mix.weights[rows], mix.means[rows], mix.covariances[rows])
        parts.append(part.score(process))

    def score(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        everyone, mine = whole(x, t), torch.empty_like(x)
        for k, part in enumerate(parts):
            rows = label == k
            if rows.any():
                mine[rows] = part(x[rows], t[rows])
        return everyone + scale * (mine - everyone)

    return Problem(
        "guided64",
        process,
        score,
        (64,),
        count=240,
        labels=classes,
        train=lambda n: mix.sample(n, seed=20_001),
    )


def _fashion_exact(process: ss.Process, source: str = IMAGES) -> Problem:
    images = load_images(source, "train", progress=False)
    rows = torch.arange(2000)
    data = images.batch(rows, (-1.0, 1.0)).double()
    std = 0.1

    def fresh(n: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        k = torch.randint(len(data), (n,), generator=generator)
        blur = torch.randn((n, *data.shape[1:]), generator=generator, dtype=torch.float64)
        return data[k] + std * blur

    return Problem(
        "fashion-exact",
        process,
        ss.EmpiricalScore(data, process, std),
        tuple(data.shape[1:]),
        fresh,
        count=64,
        batch=128,
        pixels=lambda x: ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8),
    )


def _fashion_network(source: str = IMAGES) -> Problem:
    model = scorezoo.load("fashion-mnist")

    def train(n: int) -> Tensor:
        images = load_images(source, "train", progress=False)
        return images.batch(torch.arange(n), model.data_range)

    return Problem(
        "fashion-mnist",
        model.process,
        model.score,
        model.shape,
        dtype=torch.float32,
        count=64,
        batch=128,
        pixels=model.to_pixels,
        train=train,
    )


PROBLEMS: dict[str, Callable[[ss.Process], Problem]] = {
    "gauss64": _gauss64,
    "lr64": lambda process: _closed("lr64", _lr64(), process),
    "held48": lambda process: _closed("held48", _mixture(48, 6, 10, 1.0, seed=4848), process),
    "grid25": _grid25,
    "guided64": _guided64,
    "fashion-exact": _fashion_exact,
}
"""Closed forms: a process in, a problem out."""


def problem(name: str, description: str = "edm", images: str = IMAGES) -> Problem:
    """A problem by name.

    Args:
        name: One of the table's.
        description: ``edm``, ``ve`` or ``vp``; a network has its own.
        images: Where Fashion-MNIST is read from: a Hub id or a folder.

    Raises:
        ValueError: If there is none of that name, or its description is not known.
    """
    if name == "fashion-mnist":
        return _fashion_network(images)
    if name not in PROBLEMS or description not in DESCRIPTIONS:
        raise ValueError(
            f"no problem {name!r} described as {description!r}; problems are "
            f"{', '.join([*PROBLEMS, 'fashion-mnist'])}, descriptions {', '.join(DESCRIPTIONS)}"
        )
    process = DESCRIPTIONS[description]()
    if name == "fashion-exact":
        return _fashion_exact(process, images)
    return PROBLEMS[name](process)
