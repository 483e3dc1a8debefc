"""Samples of one batch: what a hard one does to the others, here and with one shared step size."""

import math

import pytest
import torch

import sdesolve as ss

OURS = ss.AdaptiveODE(rtol=1e-4, atol=1e-4)
THEIRS = ss.Torchdiffeq(rtol=1e-4, atol=1e-4)
SPAN = (0.0, 1.0)


def _oscillating(x, t):
    return torch.where(x[:, :1] > 10, 100 * torch.cos(60 * t), torch.cos(t)).expand_as(x)


def _one_hard_among(easy, solver):
    """Error and NFE of one oscillating sample among easy ones, and its neighbours' solution."""
    hard = torch.full((1, 1), 20.0, dtype=torch.float64)
    x = torch.cat([torch.linspace(0, 1, easy, dtype=torch.float64)[:, None], hard])
    sol = ss.solve(ss.SDE(_oscillating), x, SPAN, solver=solver)
    assert sol.ok
    return abs(sol.x[-1].item() - 20 - 100 / 60 * math.sin(60)), sol.nfe[-1].item(), sol


def test_easy_neighbours_do_not_drown_the_error_of_a_hard_sample():
    """A norm over the batch does: the more easy samples, the larger the hard one's error."""
    alone, among_255, among_4095 = (_one_hard_among(n, OURS) for n in (0, 255, 4095))
    assert alone[:2] == pytest.approx(among_255[:2], rel=1e-9)
    assert alone[:2] == pytest.approx(among_4095[:2], rel=1e-9)
    assert alone[0] < 2e-3
    easy = torch.linspace(0, 1, 255, dtype=torch.float64)[:, None]
    without = ss.solve(ss.SDE(_oscillating), easy, SPAN, solver=OURS)
    assert torch.equal(among_255[2].nfe[:-1], without.nfe)
    assert torch.allclose(among_255[2].x[:-1], without.x, rtol=1e-12)
    theirs = [_one_hard_among(n, THEIRS) for n in (0, 255, 4095)]
    errors, calls = [e for e, _, _ in theirs], [n for _, n, _ in theirs]
    assert errors[1] > 20 * errors[0] and errors[2] > 100 * errors[0]
    assert calls[2] < calls[1] < calls[0]


def test_a_stiff_neighbour_costs_an_easy_sample_nothing():
    """One step size for the batch makes all take the steps of the stiffest."""
    rates = torch.ones(64, 1, dtype=torch.float64)
    rates[-1] = 1000.0

    def drift(x, t):  # the second value says how stiff: it stays
        return torch.stack([-x[:, 1] * x[:, 0], torch.zeros_like(x[:, 0])], dim=1)

    x = torch.cat([torch.linspace(0.5, 1.5, 64, dtype=torch.float64)[:, None], rates], dim=1)
    ode = ss.SDE(drift)
    ours, theirs = (
        [ss.solve(ode, part, SPAN, solver=solver) for part in (x[:-1], x)]
        for solver in (OURS, THEIRS)
    )
    assert torch.equal(ours[0].nfe, ours[1].nfe[:-1])
    assert torch.allclose(ours[0].x, ours[1].x[:-1], rtol=1e-12)
    assert ours[1].nfe[-1] > 20 * ours[1].nfe[0]
    assert theirs[1].nfe[0] > 20 * theirs[0].nfe[0]
