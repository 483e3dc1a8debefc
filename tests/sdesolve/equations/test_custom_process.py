"""Processes and references of the user's own that have no hash."""

from dataclasses import dataclass, field

import pytest
import torch

import sdesolve as ss

SOLVERS = [ss.ExponentialAdams(), ss.UniPC(), ss.ExponentialRungeKutta(), ss.EDMHeun(), ss.Heun()]
DATA = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.3], [1.0, -0.3]], 0.1)


class Mutable(ss.EDM):
    """A dataclass that compares its fields and is not frozen has no hash."""

    __hash__ = None


@dataclass(frozen=True)
class Listed(ss.EDM):
    """A frozen one has a hash, which fails."""

    used_by: list[str] = field(default_factory=list)


class Unnamed(ss.Isotropic):
    __hash__ = None


def _draw(process, solver, **options):
    return ss.sample(process, DATA.score(process), (3, 2), solver=solver, nfe=8, **options).x


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize("make", [Mutable, Listed])
def test_a_process_without_hash_is_as_good_as_one_with(make, solver):
    for sigma_max in (10.0, 20.0):
        expected = _draw(ss.EDM(sigma_max=sigma_max), solver)
        assert torch.equal(_draw(make(sigma_max=sigma_max), solver), expected)


def test_a_process_that_changes_is_asked_again():
    process = Mutable(sigma_min=0.002)
    for sigma_min in (0.002, 0.1):
        object.__setattr__(process, "sigma_min", sigma_min)
        expected = _draw(ss.EDM(sigma_min=sigma_min), ss.ExponentialAdams())
        assert torch.equal(_draw(process, ss.ExponentialAdams()), expected)


@pytest.mark.parametrize("make", [ss.ExponentialAdams, ss.ExponentialRungeKutta])
def test_a_reference_needs_no_hash(make):
    expected = _draw(ss.EDM(), make(reference=ss.Isotropic(0.5)))
    assert torch.equal(_draw(ss.EDM(), make(reference=Unnamed(0.5))), expected)


@pytest.mark.parametrize("make", [ss.ExponentialAdams, ss.ExponentialRungeKutta])
def test_tables_are_kept_where_there_is_a_hash(make):
    asked = []

    class Watched(ss.EDM):
        def _log_snr(self, t):
            asked.append(t)
            return super()._log_snr(t)

    process, grid = Watched(sigma_max=10.0), torch.tensor([10.0, 3.0, 1.0, 0.1])
    score, counts = DATA.score(process), [0]
    for _ in range(2):
        ss.sample(process, score, (3, 2), solver=make(), grid=grid)
        counts.append(len(asked))
    assert counts[2] - counts[1] < counts[1]
