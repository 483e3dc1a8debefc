"""Solvers as JSON and back."""

import dataclasses
import json

import pytest
import torch

import sdesolve as ss
from sdesolve.interop.spelling import read, spell

FIXED = [n for n in ss.solver_names() if isinstance(ss.solver(n), ss.Solver)]


@pytest.mark.parametrize("name", FIXED)
def test_every_solver_comes_back(name):
    made = ss.solver(name)
    assert read(json.loads(json.dumps(spell(made)))) == made


def test_references_and_grids():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    known = ss.GaussianReference.from_data(x)
    made = read(json.loads(json.dumps(spell(ss.ExponentialAdams(2, reference=known)))))
    assert torch.equal(made.reference.mean, known.mean) and made.order == 2
    assert torch.allclose(made.reference.variances, known.variances, rtol=1e-6)
    assert read(json.loads(json.dumps(spell(ss.Karras(5.0))))) == ss.Karras(5.0)
    assert read(spell("heun")) == "heun" and read(spell(None)) is None


@dataclasses.dataclass(frozen=True)
class Mine(ss.Heun):
    pass


def test_code_is_neither_written_nor_read():
    with pytest.raises(TypeError, match=r"ss\.register"):
        spell(Mine())
    with pytest.raises(TypeError, match="not of this package"):
        spell(ss.ExponentialAdams(tau=lambda t: 0.5))
    with pytest.raises(ValueError, match="no class 'Popen'"):
        read({"kind": "Popen", "args": "ls"})
