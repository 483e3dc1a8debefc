"""A predictor for sbi: its score-based posteriors sampled by our solvers.

sbi walks a grid of its own and asks its predictor for one interval at a time, of which it tells the
two ends. A multistep method needs what it evaluated before, and knows better grids than one uniform
in t. So the whole way is one interval (``steps=2``, two grid points to sbi), and the calls are ours
to spend. Between more points, for its correctors and its ``save_intermediate``, one-step methods
take a step in each.

The process is read off the estimator's ``mean_t_fn`` and ``std_fn``, whatever its name; the score
is the potential's gradient, so that guidance, several observations and batches of them work.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..equations.interpolant import Interpolant
from ..loop.checks import as_solver, check_count, check_stream
from ..sampling import sample, stochasticity_of
from ..solvers import Solver
from ..solvers.default import DEFAULT_NFE, default_solver
from .common import library

__all__ = ["register"]

_REACHED = 1e-6  # of an end of the run: sbi keeps its times in single precision
_LEAST = 1e-5  # of the way: the end of estimators whose t_min is 0


def register() -> None:
    """Add ``"sdesolve"`` to the predictors of sbi; again is no harm.

    ``predictor_params`` are then

    - ``solver``: a fixed-grid solver or its name; by default the best known for the calls;
    - ``nfe``: network calls, 20 if it is left out;
    - ``stochasticity``: tau of the reverse equation; by default the solver's own, of most 0. A run
      without noise keeps the error of its start (sbi's base is a Gaussian of the prior's moments);
      with 1, and more calls, it is forgotten;
    - ``seed``: seed of the noise, wanted where there is noise: another one for every call of
      ``sample``. The noise to start from is sbi's, from torch's global state.

    Raises:
        ImportError: If sbi is absent.

    Examples:
        ss.interop.sbi.register()
        theta = posterior.sample(
            (1000,), x=x, predictor="sdesolve", steps=2, predictor_params={"nfe": 20}
        )
    """
    registry: Any = library("sbi.samplers.score.predictors", "sbi")

    def init(self: Any, potential_fn: Any, **params: Any) -> None:  # noqa: ANN401
        registry.Predictor.__init__(self, potential_fn)
        self._run = Run(potential_fn, **params)

    def predict(self: Any, theta: Tensor, t1: Tensor, t0: Tensor) -> Tensor:  # noqa: ANN401
        out: Tensor = self._run(theta, t1, t0)
        return out

    made = type("SDESolve", (registry.Predictor,), {"__init__": init, "predict": predict})
    registry.register_predictor("sdesolve")(made)


class Run:
    """What the predictor does: intervals of one potential.

    Args:
        potential: sbi's potential, with its observation.
        solver: A fixed-grid solver, its name, or None.
        nfe: Calls of the whole way, or None.
        stochasticity: tau, or None.
        seed: Seed of the noise, or None.

    Raises:
        ValueError: If the solver is not one for a fixed grid, or there is noise and no seed.
        TypeError: If a parameter has the wrong type.
    """

    def __init__(
        self,
        potential: Any,  # noqa: ANN401
        *,
        solver: Solver | str | None = None,
        nfe: int | None = None,
        stochasticity: float | None = None,
        seed: int | None = None,
    ) -> None:
        check_count("nfe", nfe, least=1)
        self.named = solver is not None
        if solver is None:
            chosen: object = default_solver(nfe or DEFAULT_NFE, bool(stochasticity), None)[0]
        else:
            chosen = as_solver(solver)
        if not isinstance(chosen, Solver):
            raise ValueError(
                f"sbi gives one time to all samples, {type(chosen).__name__} has one for each; "
                'take a solver of a fixed grid, predictor_params={"solver": "deis"}'
            )
        self.solver, self.nfe = chosen, nfe
        self.stochasticity = stochasticity_of(chosen, stochasticity)
        if self.stochasticity and seed is None:
            raise ValueError(
                "the run has noise: give its seed, another one for every call of sample, as in "
                'predictor_params={"seed": 0}; or take none, {"stochasticity": 0}'
            )
        self.seed, _ = check_stream(0 if seed is None else seed, 0)
        self.first = 0
        self.potential = potential
        self.process = process_of(potential.vector_field_estimator)

    def __call__(self, theta: Tensor, t1: Tensor, t0: Tensor) -> Tensor:
        """States at time ``t0`` from those at ``t1``, ``(samples, observations, *event)``.

        Raises:
            ValueError: If this is not the whole way, and the method is not one for that.
        """
        start, end = float(t1), float(t0)
        process, first = self.process, self.first
        # Every interval and every batch has noise of its own.
        self.first += len(theta)
        span: dict[str, Any] = {"nfe": self.nfe}
        if start < process.T * (1 - _REACHED) or end > process.eps * (1 + _REACHED):
            if not (self.named and self.solver.one_step and self.nfe is None):
                raise ValueError(
                    f"sbi asks for a step from t = {start:g} to {end:g}, and a run of "
                    f"{type(self.solver).__name__} or a budget of calls is for the whole way: "
                    'write posterior.sample(..., predictor="sdesolve", steps=2). With a grid of '
                    'sbi\'s, name a one-step method: predictor_params={"solver": "dpmpp-2s"}, '
                    "without nfe"
                )
            span = {"grid": torch.tensor([start, end], dtype=torch.float64, device="cpu")}
        return sample(
            process,
            self._score,
            theta.shape,
            x=theta,
            solver=self.solver,
            stochasticity=self.stochasticity,
            seed=self.seed,
            first=first,
            **span,
        ).x

    def _score(self, theta: Tensor, t: Tensor) -> Tensor:
        # One time without axes, as sbi's own predictor has it: its formulas differ in how they
        # broadcast.
        score: Tensor = self.potential.gradient(theta, t[0])
        return score


def process_of(estimator: Any) -> Interpolant:  # noqa: ANN401
    """The process of an estimator, from the mean and the deviation that it noises with."""

    def alpha(t: Tensor) -> Tensor:
        out: Tensor = estimator.mean_t_fn(t)
        return out.reshape(t.shape)

    def sigma(t: Tensor) -> Tensor:
        out: Tensor = estimator.std_fn(t)
        return out.reshape(t.shape)

    end = float(estimator.t_max)
    return Interpolant(alpha, sigma, end, max(float(estimator.t_min), _LEAST * end))
