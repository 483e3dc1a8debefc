"""Losses of a joint fit: what they measure, what is refused, and what a fit makes of them."""

import importlib
from dataclasses import replace

import pytest
import torch

import sdesolve as ss
from sdesolve.tuning.descent import descend
from sdesolve.tuning.losses import distance, each

from .test_descent import ALL, MIX, PROCESS, SCORE, _ends, _plan, _solve, held_out, known  # noqa: F401


def larger(x, exact):
    """From end points a tenth farther out."""
    return distance("rmse", x, 1.1 * exact)


def test_losses_are_distances():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    exact = torch.zeros(2, 2)
    assert distance("rmse", x, exact).item() == pytest.approx(2.5)
    near, far = torch.ones(9, 2), torch.full((1, 2), 30.0)  # from three mean errors on, linearly
    knee = 3 * (9 + 30) / 10
    square = (9 + 2 * knee * 30 - knee**2) / 10
    both = torch.cat([near, far])
    assert distance("huber", both, 0 * both).item() == pytest.approx(square**0.5)
    assert distance(lambda a, b: (a - b).sum(), x, exact).item() == 7.0


@pytest.mark.parametrize(
    ("loss", "errors"),
    [
        ("rmse", [12.5**0.5, 0.0]),
        ("huber", [12.5**0.5, 0.0]),
        (lambda a, b: (a - b)[:, 0].square().mean().sqrt(), [3.0, 0.0]),
        (lambda a, b: (a - b).abs().mean(), [3.5, 0.0]),
    ],
)
def test_each_sample_has_an_error_of_its_own(loss, errors):
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert each(loss, x, torch.zeros(2, 2)).tolist() == pytest.approx(errors)


def test_a_fit_minimises_what_it_was_given(known, held_out):  # noqa: F811
    solver = ss.solver("deis")
    table, ends, watched = _plan(solver), _ends(known), replace(_solve(64, 2), loss=larger)

    def held(table):
        return watched.errors(table, ALL).mean().item()

    own = descend(table, solver, ends, held, loss=larger, iterations=30)
    pixels = descend(table, solver, ends, held_out, iterations=30)
    assert held(own) < 0.7 * held(pixels)
    assert held_out(pixels) < 0.7 * held_out(own)


def test_selection_goes_by_a_loss_of_ones_own(monkeypatch):
    monkeypatch.setattr("sdesolve.tuning.paths.PUBLISHED", ("dpmpp-2m",))
    monkeypatch.setattr("sdesolve.tuning.paths.usual_grids", lambda scale: {"sech": ss.Sech(1.0)})
    monkeypatch.setattr("sdesolve.tuning.paths._FINE", 24)
    search = importlib.import_module("sdesolve.tuning.search")
    monkeypatch.setattr(search, "_QUICK_ITERATIONS", 4)
    arguments = {"trajectories": 16, "quick": True, "reference": ss.Isotropic(1.0)}
    arguments |= {"method": "gradient"}
    plain = ss.tune(PROCESS, SCORE, 3, MIX.sample(50), **arguments)
    tiny = ss.tune(PROCESS, SCORE, 3, MIX.sample(50), loss=_thousandth, **arguments)
    published = "published dpmpp-2m on sech"
    assert tiny.report[published] == pytest.approx(1e-3 * plain.report[published])
    assert tiny.held_out[1] == plain.held_out[1]  # the gain stays in root mean squares
    assert tiny.fitted_on["loss"] == "of the user's own"


def _thousandth(x, exact):
    return 1e-3 * distance("rmse", x, exact)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("l1", 'loss is "rmse", "huber" or a function'),
        (3, 'loss is "rmse", "huber" or a function'),
        (lambda a, b: (a - b).square(), r"this one \(2, 1, 4, 4\): write .mean"),
        (lambda a, b: 1.0, "this one float"),
        (lambda a, b: (a - b).detach().mean(), "this one has none"),
    ],
)
def test_what_is_no_loss_is_refused_before_the_score_is_called(loss, message):
    def score(x, t):
        raise AssertionError

    with pytest.raises(ValueError, match=message):
        ss.tune(PROCESS, score, 4, event_shape=(1, 4, 4), loss=loss, minutes=1)
