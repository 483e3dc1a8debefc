"""Orders of published samplers beyond what they declare (test_registered.py).

Where iPNDM's weights are right, with every reference, weight and length, and with noise by a rule
of the method's own.
"""

import dataclasses
import math

import pytest
import torch

import sdesolve as ss
from sdesolve.testing.gaussian import final_variance
from sdesolve.testing.mixture import DATA, PROCESS, SPAN, flow_error, quantiles
from sdesolve.testing.orders import slope

NOISY = {
    name: solver
    for name in ss.solver_names()
    if isinstance(solver := ss.solver(name), ss.Solver) and solver.own_noise
}


def test_ipndm_has_its_fourth_order_where_its_weights_are_right():
    errors = [flow_error(ss.IPNDM(4), n, ss.Karras(1.0), exact_start=True) for n in (256, 512)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.2)


SAMPLE = DATA.sample(300, seed=3)
REFERENCES = {
    "isotropic": ss.Isotropic(0.6),
    "principal": ss.GaussianReference.from_data(SAMPLE),
    "spectral": ss.SpectralReference.from_data(SAMPLE),
    "measured": ss.MeasuredReference.from_score(PROCESS, DATA.score(PROCESS), SAMPLE),
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"weight": "noise"},
        {"weight": "data"},
        {"length": 0.8},
        {"order": 2, "corrector": None},
        {"order": 1, "corrector": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("reference", REFERENCES)
def test_order_with_every_reference_weight_and_length(reference, change):
    solver = ss.ExponentialAdams(
        **{"order": 2, "corrector": 3, "reference": REFERENCES[reference]} | change
    )
    errors = [flow_error(solver, n, ss.LogSNR(), exact_start=True) for n in (128, 256)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(solver.orders[0], abs=0.2)


def exact_noise(solver, steps):
    """With as much noise as keeps the law, and inner steps that grow with the outer ones."""
    if isinstance(solver, ss.Restart):
        return dataclasses.replace(solver, noise=1.0, inner=steps // 4, interval=(0.3, 0.8))
    return dataclasses.replace(solver, noise=1.0) if isinstance(solver, ss.EDMHeun) else solver


def _errors(solvers):
    runs = {n: final_variance(PROCESS, s, SPAN, n, 1.0, 0.25) for n, s in solvers.items()}
    return [abs(variance - exact) for variance, exact in runs.values()]


@pytest.mark.parametrize("name", NOISY)
def test_weak_order_with_noise_that_keeps_the_law(name):
    solver = NOISY[name]
    declared = exact_noise(solver, 100).weak_order.get("additive")
    if isinstance(solver, ss.Restart):
        declared = 2.0  # of the family whose inner steps grow with the outer ones
    errors = _errors({n: exact_noise(solver, n) for n in (100, 200)})
    assert math.log2(errors[0] / errors[1]) == pytest.approx(declared, abs=0.2)


@pytest.mark.parametrize("solver", [ss.EDMHeun(40.0, noise=1.003), ss.Restart((0.3, 0.8))], ids=str)
def test_noise_that_does_not_keep_the_law_has_no_weak_order(solver):
    """More steps do not remove the error, and no weak order is declared."""
    assert not solver.weak_order
    errors = _errors(dict.fromkeys((50, 100), solver))
    assert errors[1] > 0.7 * errors[0]


@pytest.mark.parametrize("name", [n for n in NOISY if isinstance(NOISY[n], ss.ERSDE)])
def test_strong_order_of_its_own_equation(name):
    """On one Brownian path, against ShARK on the SDE with ER-SDE's stochasticity written out."""
    solver, fine, grids = NOISY[name], 1536, (32, 64, 128, 256)
    score = DATA.score(PROCESS)
    x0 = quantiles(torch.linspace(0.02, 0.98, 200).double(), SPAN[0])

    def tau2(t):
        s = PROCESS.sigma(t) ** 0.3
        return 0.3 * s / (1 + 10 * torch.exp(-s))

    def drift(x, t):
        return -0.5 * (1 + tau2(t)) * PROCESS.diffusion(t) ** 2 * score(x, t.flatten())

    exact = ss.SDE(drift, lambda x, t: tau2(t).sqrt() * PROCESS.diffusion(t), noise="additive")
    path = ss.BrownianPath(SPAN, fine, (1,), batch=len(x0), seed=3)
    end = ss.solve(exact, x0, SPAN, solver=ss.ShARK(), steps=fine, brownian=path).x
    sde, errors = PROCESS.reverse(score), []
    for steps in grids:
        times = torch.linspace(*SPAN, steps + 1, dtype=torch.float64)
        sol = ss.solve(sde, x0, SPAN, solver=solver, grid=times, brownian=path)
        errors.append((sol.x - end).square().mean().sqrt().item())
    assert slope(grids, errors) == pytest.approx(solver.strong_order["additive"], abs=0.15)
