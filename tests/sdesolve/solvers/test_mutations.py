"""A flipped sign in any tableau is noticed: by its own validation, or by its order conditions."""

import dataclasses
import math

import pytest
import torch

import sdesolve as ss
from sdesolve.solvers import runge_kutta, weak
from sdesolve.solvers.pairs import PAIRS
from sdesolve.testing import problems
from sdesolve.testing.quadrature import Nodes, product_rule


def _flips(value):
    """Every copy of nested tuples of numbers in which one non-zero number has changed its sign."""
    if isinstance(value, tuple):
        for i, part in enumerate(value):
            for flipped in _flips(part):
                yield (*value[:i], flipped, *value[i + 1 :])
    elif isinstance(value, float) and value != 0:
        yield -value


def _mutants(tableau):
    for field in dataclasses.fields(tableau):
        for flipped in _flips(getattr(tableau, field.name)):
            yield {field.name: flipped}


VALIDATED = [ss.SRA1, ss.SRA2, ss.SRA3, ss.ShARK, ss.SRIW1]


@pytest.mark.parametrize("solver", VALIDATED, ids=lambda s: s.__name__)
def test_tableaux_of_order_one_and_a_half_refuse_a_flipped_sign(solver):
    dataclasses.replace(solver.tableau)
    mutants = list(_mutants(solver.tableau))
    assert len(mutants) > 10
    for mutant in mutants:
        with pytest.raises(ValueError, match=r"order conditions|must"):
            dataclasses.replace(solver.tableau, **mutant)


def _classical_defect(rows, weights, order):
    """Largest violation of the order conditions of a Runge-Kutta method, up to order 4."""
    s = len(weights)
    a = torch.zeros(s, s, dtype=torch.float64)
    for i, row in enumerate(rows):
        a[i + 1, : len(row)] = torch.tensor(row, dtype=torch.float64)
    b, c = torch.tensor(weights, dtype=torch.float64), a.sum(1)
    ac = a @ c
    trees = [
        (1, torch.ones(s).double(), 1), (2, c, 1 / 2), (3, c**2, 1 / 3), (3, ac, 1 / 6),
        (4, c**3, 1 / 4), (4, c * ac, 1 / 8), (4, a @ c**2, 1 / 12), (4, a @ ac, 1 / 24),
    ]  # fmt: skip
    return max(abs((b @ tree).item() - value) for p, tree, value in trees if p <= order)


@pytest.mark.parametrize(
    "solver", [ss.EulerODE, ss.Heun, ss.Midpoint, ss.EulerHeun, ss.RK4], ids=lambda s: s.__name__
)
def test_runge_kutta_tableaux(solver):
    def defect(tableau):
        noise = tableau.noise or tableau.drift
        betas = tableau.noise_weights or tableau.weights
        # A Stratonovich method of order 1 needs order 2 in the noise.
        needs = 2 if len(betas) > 1 else 1
        return max(
            _classical_defect(tableau.drift, tableau.weights, solver.order),
            _classical_defect(noise, betas, needs),
        )

    assert defect(solver.tableau) < 1e-14
    for mutant in _mutants(solver.tableau):
        try:
            flipped = dataclasses.replace(solver.tableau, **mutant)
        except ValueError:
            continue
        assert defect(flipped) > 1e-3, mutant


@pytest.mark.parametrize("method", [m for m in PAIRS if PAIRS[m].order >= 5])
def test_adaptive_pairs(method):
    pair = PAIRS[method]

    def defect(stages, error):
        low = [b - e for b, e in zip((*stages[-1], 0.0), error, strict=True)]
        rows = sum(abs(sum(r) - c) for r, c in zip(stages, pair.nodes, strict=True))
        return (
            rows + _classical_defect(stages[:-1], stages[-1], 4) + _classical_defect(stages, low, 4)
        )

    assert defect(pair.stages, pair.error) < 1e-12
    for flipped in _flips(pair.stages):
        assert defect(flipped, pair.error) > 1e-4
    for flipped in _flips(pair.error):
        assert defect(pair.stages, flipped) > 1e-4


def _dri1_defect():
    """Error of the third moments after one step, in units of h^3.

    Second moments do not see the sign of the terms in I_kk, which are uncorrelated with the rest.
    """
    sde = problems.rotation("ito")
    a, b1, b2 = problems.DRIFT, problems.B1, problems.B2
    eye = torch.eye(2, dtype=torch.float64)

    def kron(*factors):
        return torch.kron(torch.kron(factors[0], factors[1]), factors[2])

    generator = kron(a, eye, eye) + kron(eye, a, eye) + kron(eye, eye, a)
    for b in (b1, b2):
        generator = generator + kron(b, b, eye) + kron(b, eye, b) + kron(eye, b, b)
    three, two = ([-2.0, 0.0, 2.0], [1 / 6, 2 / 3, 1 / 6]), ([-1.0, 1.0], [0.5, 0.5])
    nodes, weights = product_rule([three, three, two, two])
    h = 1e-2
    columns = []
    for i in range(2):
        x = torch.zeros(len(nodes), 2, dtype=torch.float64)
        x[:, i] = 1.0
        problem = ss.equations.problem.Problem(sde)
        plan = ss.DRI1().plan(problem, torch.tensor([0.0, h], dtype=torch.float64))
        noise = Nodes(len(nodes), nodes.split(2, dim=1))
        columns.append(ss.DRI1().step(problem, plan, 0, x, None, noise).x)
    r = torch.stack(columns, dim=2)
    third = torch.einsum("q,qij,qkl,qmn->ikmjln", weights, r, r, r).reshape(8, 8)
    return (third - torch.linalg.matrix_exp(h * generator)).abs().max().item() / h**3


@pytest.mark.parametrize(
    "name", ["_B0", "_B1", "_B2", "_ALPHA", "_BETA1", "_BETA2", "_BETA3", "_BETA4"]
)
def test_dri1(name, monkeypatch):
    good = _dri1_defect()
    assert good < 2
    value = getattr(weak, name)
    for flipped in _flips(value):
        monkeypatch.setattr(weak, name, flipped)
        assert _dri1_defect() > 10 * good, flipped


def test_a_wrong_row_length_is_refused():
    with pytest.raises(ValueError, match="1, 2"):
        runge_kutta.Tableau(((1.0, 2.0),), (0.5, 0.5))
    with pytest.raises(ValueError, match="sum to 1"):
        runge_kutta.Tableau(((1.0,),), (0.5, 0.6))
    assert math.isclose(sum(runge_kutta.RK4.tableau.weights), 1.0)
