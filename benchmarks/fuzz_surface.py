"""The public surface for ``benchmarks.fuzz``: every callable with arguments that are right.

Arguments that are not given here are the defaults of the signature, so that an option that is added
is tried without a line here.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks.fuzz import Case

__all__ = ["library", "zoo"]

PROCESS = ss.VPSDE()
LAW = ss.GaussianMixture([0.4, 0.6], [[-1.0, 0.5], [1.0, 0.0]], 0.05)
SCORE = LAW.score(PROCESS)
X = LAW.sample(3, seed=1).float()
DATA = LAW.sample(40, seed=2).float()
IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))
TIMES = torch.tensor([0.1, 0.5, 0.9])


def _case(
    call: Callable[..., Any],
    use: Callable[[Any], Any] | None = None,
    *,
    elementwise: bool = False,
    infinite: bool = False,
    **right: Any,
) -> Case:
    """A case whose other arguments are the defaults."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(call).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    return Case(call, {**defaults, **right}, use, elementwise, infinite)


def _sampled(process: ss.Process) -> object:
    return ss.sample(process, LAW.score(process), (3, 2), steps=4)


def _drawn(solver: Any) -> object:
    steps = None if isinstance(solver, ss.Adaptive) else 4
    return ss.sample(PROCESS, SCORE, (3, 2), solver=solver, steps=steps)


def _gridded(grid: ss.Grid) -> object:
    return ss.sample(PROCESS, SCORE, (3, 2), solver=ss.Heun(), steps=4, grid=grid)


def _corrected(corrector: ss.Corrector) -> object:
    score = ss.scores.from_energy(lambda x, t: x.square().flatten(1).sum(1) / 2)
    solver = ss.PredictorCorrector(ss.ReverseDiffusion(), corrector)
    return ss.sample(PROCESS, score, (3, 2), solver=solver, steps=3)


def _referred(reference: ss.Reference) -> object:
    return ss.sample(PROCESS, SCORE, (3, 2), solver=ss.ExponentialAdams(reference=reference), nfe=4)


def _imaged(reference: ss.Reference) -> object:
    solver = ss.ExponentialAdams(reference=reference)
    return ss.sample(PROCESS, lambda x, t: -x, (2, 3, 8, 8), solver=solver, nfe=4)


def _likely(divergence: Any) -> object:
    return ss.log_likelihood(PROCESS, SCORE, X, divergence=divergence, rtol=1e-2, atol=1e-2)


def _asked(score: Callable[..., Tensor]) -> Tensor:
    return score(X.clone(), TIMES)


def _solved(sde: Any) -> object:
    return ss.solve(sde, X, (0.0, 1.0), solver=ss.EulerMaruyama(), steps=3)


def _reversed(sde: ss.ReverseSDE) -> object:
    solver = ss.EulerMaruyama() if sde.stochasticity else ss.Heun()
    return ss.solve(sde, X, (1.0, 1e-3), solver=solver, steps=3)


def _pair(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return x, t


def _law(law: ss.GaussianMixture) -> object:
    return law.log_prob(X), law.sample(3), law.score(PROCESS)(X, TIMES)


def _processes() -> dict[str, Case]:
    cases = {
        kind.__name__: _case(kind, _sampled)
        for kind in (ss.VPSDE, ss.SubVPSDE, ss.VESDE, ss.ExponentialVESDE, ss.EDM)
    }
    cases |= {
        f"process.{name}": _case(
            getattr(PROCESS, name), elementwise=True, infinite=name == "log_snr", t=TIMES
        )
        for name in ("alpha", "sigma", "rate", "diffusion", "total_noise", "log_snr")
    }
    cases |= {
        "DDPM": _case(ss.DDPM, lambda chain: chain.log_snr, levels=100),
        "SMLD": _case(ss.SMLD, lambda chain: chain.log_snr),
        "RectifiedFlow": _case(ss.RectifiedFlow, _sampled),
        "process.time": _case(PROCESS.time, elementwise=True, log_snr=TIMES),
        "process.noise_time": _case(PROCESS.noise_time, elementwise=True, total=TIMES),
        "process.drift": _case(PROCESS.drift, elementwise=True, x=X, t=TIMES),
        "process.perturb": _case(PROCESS.perturb, elementwise=True, x0=X, t=TIMES, noise=X + 0),
        "process.prior": _case(PROCESS.prior, lambda p: p.sample(2), event_shape=(2,), t=1.0),
        "process.reverse": _case(PROCESS.reverse, _reversed, score=SCORE),
        "prior.sample": _case(PROCESS.prior((2,)).sample, n=3),
        "prior.log_prob": _case(PROCESS.prior((2,)).log_prob, elementwise=True, x=X),
        "ReverseSDE": _case(ss.ReverseSDE, _reversed, process=PROCESS, score=SCORE),
        "SDE": _case(
            ss.SDE,
            _solved,
            drift=lambda x, t: -x,
            diffusion=lambda x, t: torch.ones_like(x),
        ),
        "BrownianPath": _case(
            ss.BrownianPath,
            lambda path: path.increment(0.25, 0.5),
            t_span=(0.0, 1.0),
            steps=8,
            shape=(2,),
            batch=3,
        ),
    }
    return cases


def _solvers() -> dict[str, Case]:
    corrector = ss.Langevin()
    plain = {
        kind.__name__: _case(kind, _drawn)
        for kind in (
            ss.AdaptiveODE,
            ss.AdaptiveExponential,
            ss.Ancestral,
            ss.Annealed,
            ss.DPMSolverMultistep,
            ss.EDMHeun,
            ss.ERSDE,
            ss.ExponentialAdams,
            ss.ExponentialRungeKutta,
            ss.IPNDM,
            ss.UniPC,
        )
    }
    return plain | {
        "AdaptiveSDE": _case(ss.AdaptiveSDE, _drawn, rtol=0.2, atol=0.1),
        "GottaGoFast": _case(ss.GottaGoFast, _drawn, rtol=0.2, atol=0.1),
        "Milstein": _case(ss.Milstein),
        "Restart": _case(ss.Restart, _drawn, interval=(0.06, 0.3), repeats=2, inner=2),
        "PredictorCorrector": _case(
            ss.PredictorCorrector, _drawn, predictor=ss.ReverseDiffusion(), corrector=corrector
        ),
        "solver": _case(ss.solver, _drawn, name="heun"),
        "HMC": _case(ss.HMC, _corrected, leapfrogs=2),
        "MALA": _case(ss.MALA, _corrected),
        "Langevin": _case(ss.Langevin, _corrected),
        "Langevin.ncsn": _case(ss.Langevin.ncsn, _corrected, steps=2),
        "UnderdampedLangevin": _case(ss.UnderdampedLangevin, _corrected),
        "Inpainting": _case(
            ss.Inpainting,
            lambda c: ss.sample(PROCESS, SCORE, (3, 2), solver=ss.Annealed(c), steps=3),
            corrector=corrector,
            known=X,
            mask=torch.tensor([[1.0, 0.0]] * 3),
        ),
        "Karras": _case(ss.Karras, _gridded),
        "Sech": _case(ss.Sech, _gridded),
        "Density": _case(
            ss.Density,
            _gridded,
            log_snr=torch.linspace(-5, 5, 5),
            log_density=torch.zeros(5),
        ),
        "Karras()": _case(ss.Karras(), process=PROCESS, t0=1.0, t1=1e-3, steps=5),
        "LogSNR()": _case(ss.LogSNR(), process=PROCESS, t0=1.0, t1=1e-3, steps=5),
        "default_grid": _case(ss.grids.default_grid, _gridded, process=PROCESS),
        "Exact": _case(ss.Exact, _likely),
        "Hutchinson": _case(ss.Hutchinson, _likely),
        "HutchPlusPlus": _case(ss.HutchPlusPlus, _likely),
    }


def _laws() -> dict[str, Case]:
    two, one = torch.tensor([0.4, 0.6]), torch.tensor([0.5, 0.2])
    return {
        "Gaussian": _case(ss.Gaussian, _law, mean=torch.zeros(2), covariance=one),
        "GaussianMixture": _case(
            ss.GaussianMixture,
            _law,
            weights=two,
            means=torch.tensor([[-1.0, 0.0], [1.0, 0.0]]),
            covariances=torch.full((2, 2), 0.1),
        ),
        "mixture.sample": _case(LAW.sample, n=4, process=PROCESS, t=0.5),
        "mixture.log_prob": _case(LAW.log_prob, elementwise=True, x=X, process=PROCESS, t=0.5),
        "mixture.score": _case(LAW.score, _asked, process=PROCESS),
        "EmpiricalScore": _case(ss.EmpiricalScore, _asked, data=DATA, process=PROCESS),
        "Isotropic": _case(ss.Isotropic, _referred, variance=0.25),
        "GaussianReference": _case(
            ss.GaussianReference,
            _referred,
            mean=torch.zeros(2),
            directions=torch.eye(2)[:1],
            variances=torch.tensor([0.5]),
            rest=0.1,
        ),
        "GaussianReference.from_data": _case(ss.GaussianReference.from_data, _referred, x=DATA),
        "SpectralReference": _case(
            ss.SpectralReference,
            _imaged,
            mean=torch.zeros(3, 8, 8),
            spectrum=torch.ones(3, 8, 8),
        ),
        "SpectralReference.from_data": _case(ss.SpectralReference.from_data, _imaged, x=IMAGES),
        "MeasuredReference.from_score": _case(
            ss.MeasuredReference.from_score, _referred, process=PROCESS, score=SCORE, x=DATA
        ),
        "energy_distance": _case(ss.metrics.energy_distance, x=DATA, y=DATA + 0.1),
        "gaussian_wasserstein": _case(ss.metrics.gaussian_wasserstein, x=DATA, y=DATA + 0.1),
        "mmd": _case(ss.metrics.mmd, x=DATA, y=DATA + 0.1),
        "sliced_wasserstein": _case(ss.metrics.sliced_wasserstein, x=DATA, y=DATA + 0.1),
        "Quantisation": _case(
            ss.dequantise.Quantisation,
            lambda q: q.levels(torch.zeros(3, 2)),
            bins=256,
            scale=(-1.0, 1.0),
        ),
        "bits_per_dim": _case(
            ss.dequantise.bits_per_dim, elementwise=True, log_prob=torch.zeros(3), dimensions=2
        ),
    }


def _scores() -> dict[str, Case]:
    def net(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        return 0.9 * x

    def log_prob(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        return -x.square().flatten(1).sum(1)

    def free(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return -x

    made = {
        name: _case(getattr(ss.scores, name), _asked, elementwise=True, net=net, process=PROCESS)
        for name in ("from_noise", "from_data", "from_velocity", "from_denoiser")
    }
    return made | {
        "from_flow": _case(
            ss.scores.from_flow, _asked, elementwise=True, net=net, process=ss.RectifiedFlow()
        ),
        "from_energy": _case(ss.scores.from_energy, _asked, elementwise=True, energy=log_prob),
        "keep_mean": _case(
            ss.scores.keep_mean, _asked, elementwise=True, net=lambda x, t: torch.cat([x, x], 1)
        ),
        "unwrap": Case(
            ss.scores.unwrap,
            {"net": _pair, "field": 0},
            _asked,
            elementwise=True,
        ),
        "change_process": _case(
            ss.scores.change_process,
            _asked,
            elementwise=True,
            score=SCORE,
            old=PROCESS,
            new=ss.VESDE(),
        ),
        "threshold": _case(
            ss.scores.threshold, _asked, elementwise=True, score=SCORE, process=PROCESS
        ),
        "classifier_guidance": _case(
            ss.conditional.classifier_guidance,
            _asked,
            elementwise=True,
            score=SCORE,
            log_prob=log_prob,
        ),
        "classifier_free_guidance": _case(
            ss.conditional.classifier_free_guidance,
            lambda s: s(X.clone(), TIMES, y=torch.zeros(3)),
            elementwise=True,
            score=free,
        ),
    }


def _runs() -> dict[str, Case]:
    shared: dict[str, Any] = {"process": PROCESS, "score": SCORE}
    rough: dict[str, Any] = {"rtol": 1e-2, "atol": 1e-2}
    reverse = PROCESS.reverse(SCORE)
    mapped: dict[str, Any] = {
        "solver": ss.AdaptiveODE(rtol=1e-2, atol=1e-2),
        "nfe": None,
        "grid": None,
    }
    pixels = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    return {
        "sample": _case(ss.sample, **shared, shape=(3, 2), nfe=8),
        "sample, on a grid": _case(
            ss.sample, **shared, shape=(3, 2), solver=ss.Heun(), grid=torch.linspace(1, 1e-3, 4)
        ),
        "sample, adaptive": _case(
            ss.sample, **shared, shape=(3, 2), solver=ss.AdaptiveODE(**rough), x=X
        ),
        "sample, from data": _case(ss.sample, **shared, shape=(3, 2), nfe=4, start=X, strength=0.5),
        "solve": _case(
            ss.solve, sde=reverse, x=X, t_span=(1.0, 1e-3), solver=ss.EulerMaruyama(), steps=4
        ),
        "solve, generic": _case(
            ss.solve,
            sde=ss.SDE(lambda x, t: -x, lambda x, t: 0.1 * x),
            x=X,
            t_span=(0.0, 1.0),
            solver=ss.SRIW1(),
            steps=4,
        ),
        "chain": _case(ss.chain, **shared, x=X, t=0.5, corrector=ss.Langevin(), corrections=3),
        "encode": _case(ss.encode, **shared, x=X, **mapped),
        "decode": _case(ss.decode, **shared, z=X, **mapped),
        "interpolate": _case(ss.interpolate, **shared, x0=X, x1=X.flip(0), **mapped),
        "temperature": _case(ss.temperature, **shared, x=X, factor=0.9, **mapped),
        "log_likelihood": _case(ss.log_likelihood, **shared, x=X, **rough),
        "log_likelihood, of bins": _case(
            ss.log_likelihood, **shared, x=pixels, bins=2, scale=(0.0, 1.0), **rough
        ),
        "log_density_path": _case(
            ss.log_density_path, **shared, x=X, times=torch.tensor([0.01, 0.1]), **rough
        ),
        "variational_bound": _case(ss.variational_bound, **shared, x=X, levels=10),
        "reference_from_score": _case(
            ss.reference_from_score, _referred, **shared, event=(2,), samples=20, nfe=5
        ),
        "describe": _case(ss.describe, **shared, x=DATA),
    }


def library() -> dict[str, Case]:
    """The surface of sdesolve."""
    return _processes() | _solvers() | _laws() | _scores() | _runs()


def zoo() -> dict[str, Case]:
    """The Python functions of scorezoo."""
    import scorezoo
    from scorezoo import data, heuristics, pictures, recipes, toys, training

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    model = scorezoo.load("toy-moons")
    moons = toys.toy("moons")
    return {
        "load": _case(scorezoo.load, name="toy-moons"),
        "ScoreModel": _case(
            scorezoo.ScoreModel,
            lambda m: ss.sample(m.process, m.score, (2, *m.shape), steps=2),
            network={"name": "mlp", "width": 8},
            process={"name": "VPSDE"},
            shape=(2,),
            data_range=(0.0, 1.0),
        ),
        "model": _case(model.forward, elementwise=True, x=X, t=TIMES),
        "model.to_pixels": _case(model.to_pixels, x=torch.rand(2, 1, 4, 4)),
        "load_data": _case(data.load_data, table={"toy": "moons", "points": 10, "seed": 0}),
        "grid": _case(pictures.grid, pixels=torch.zeros(4, 1, 5, 5, dtype=torch.uint8)),
        "toy": _case(toys.toy, lambda law: law.sample(3), name="moons"),
        "toy.sample": _case(moons.sample, n=4),
        "read_recipe": _case(recipes.read_recipe, name="toy-moons"),
        "TrainingConfig": _case(training.TrainingConfig, epochs=1, batch_size=8),
        "Compute": _case(training.Compute),
        **{
            f"heuristics.{name}": _heuristic(getattr(heuristics, name))
            for name in heuristics.__all__
        },
        **_training(folder),
    }


def _heuristic(call: Callable[..., Any]) -> Case:
    wanted: dict[str, Any] = {
        name: DATA if name in ("points", "x", "data") else 4 if name in ("d", "steps") else 0.1
        for name, p in inspect.signature(call).parameters.items()
        if p.default is inspect.Parameter.empty
    }
    return _case(call, **wanted)


def _training(folder: Path) -> dict[str, Case]:
    """Training with one entry of the recipe replaced."""
    import shutil

    from scorezoo import toys, training
    from scorezoo.data import PointData
    from scorezoo.recipes import read_recipe

    recipe = dict(read_recipe("toy-moons"))
    quick = {"epochs": 1, "batch_size": 8, "warmup_steps": 0}
    recipe["training"] = dict(recipe["training"]) | quick
    recipe["network"] = dict(recipe["network"]) | {"width": 8}
    points = toys.toy("moons").sample(16, seed=0, dtype=torch.float32)
    data = PointData(points, torch.full((16,), -1))

    def trainer(table: str) -> Callable[..., object]:
        def train(**entries: object) -> object:
            changed = recipe | {table: dict(recipe.get(table) or {}) | entries}
            try:
                return training.train(changed, data, folder / "run", progress=False)
            finally:
                shutil.rmtree(folder / "run", ignore_errors=True)

        return train

    return {
        f"train, {table}": Case(trainer(table), dict(recipe[table]))
        for table in ("training", "network", "process", "objective")
        if recipe.get(table)
    }
