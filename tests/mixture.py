"""Exact local weak errors on a score that is not linear, without Monte Carlo."""

import dataclasses
import itertools
import math

import torch

import sdesolve as ss
from sdesolve.equations.problem import Problem
from tests.linear import gauss

DATA = ss.GaussianMixture([0.4, 0.6], [[-1.0], [0.6]], 0.25)
PROCESS = ss.VESDE(0.1, 4.0)  # log-SNR is linear in t


def local_weak_errors(solver, h, past, draws=None):
    """Errors of moments after one step from the exact law at t, with an exact past of two points.

    Quadrature over the point at t, the noise that leads from it to the past, and the step's own.
    """
    t = 0.4
    times = [t + 2 * h, t + h, t, t - h][2 - past :]
    nodes, weights = gauss(28)
    z, w = torch.tensor(nodes, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64)
    problem = Problem(PROCESS.reverse(DATA.score(PROCESS), 1.0))
    draws = solver.nfe(1) if draws is None else draws
    spread = math.sqrt(0.25 + PROCESS.sigma(t) ** 2)
    start = torch.cat([DATA.means[k] + spread * z for k in range(2)])
    mass = torch.cat([DATA.weights[k] * w for k in range(2)])
    axes = torch.meshgrid(start, *[z] * (past + draws), indexing="ij")
    masses = torch.meshgrid(mass, *[w] * (past + draws), indexing="ij")
    x0, *normals = (axis.reshape(-1, 1) for axis in axes)
    total = torch.stack([m.flatten() for m in masses]).prod(0)
    path = [x0]
    for later, earlier in itertools.pairwise([t, *times[past - 1 :: -1]][: past + 1]):
        added = PROCESS.sigma(earlier) ** 2 - PROCESS.sigma(later) ** 2
        path.insert(0, path[0] + math.sqrt(added) * normals.pop())
    plan = solver.plan(problem, torch.tensor(times, dtype=torch.float64))
    if past:
        plan = dataclasses.replace(plan, rows=[r._replace(correct=[]) for r in plan.rows])

    class Given:
        def __init__(self, values):
            self.values = list(values)

        def normal(self):
            return self.values.pop()

        def pair(self):
            return self.values.pop(), self.values.pop()

    state = solver.init(problem, plan, path[0])
    for i, x in enumerate(path):
        noise = Given(normals if i == past else [torch.zeros_like(x0)] * draws)
        new, state, _ = solver.step(problem, plan, i, x, state, noise)
    spread = math.sqrt(0.25 + PROCESS.sigma(t - h) ** 2)
    fine, fine_w = (torch.tensor(v, dtype=torch.float64) for v in gauss(40))
    errors = []
    for f in (lambda v: v, torch.square, torch.sin, lambda v: torch.exp(-(v**2))):
        exact = sum(
            DATA.weights[k] * (fine_w * f(DATA.means[k] + spread * fine)).sum() for k in range(2)
        )
        errors.append(((total * f(new.flatten())).sum() - exact).abs().item())
    return errors


def weak_slope(solver):
    """Weak order of a one-step method: local errors of the worst of the moments, one order more."""
    draws = 2 if isinstance(solver, ss.SRA1 | ss.SRA2 | ss.SRA3 | ss.ShARK | ss.SRIW1) else 1
    coarse, fine = (max(local_weak_errors(solver, h, 0, draws)) for h in (0.02, 0.01))
    return math.log2(coarse / fine) - 1
