"""Every published preset against its published formula (``tests/published``)."""

import pytest
import torch

import sdesolve as ss
from sdesolve.noise.streams import Streams
from sdesolve.solvers.linear_multistep import LinearMultistep
from tests.published import DATA, PUBLISHED, Model

PROCESSES = [ss.VPSDE(), ss.VESDE(0.02, 10.0), ss.EDM(0.01, 10.0), ss.SubVPSDE()]
SHARES = (1.0, 0.82, 0.6, 0.45, 0.33, 0.2, 0.12, 0.05, 0.02)


def test_every_preset_is_compared():
    kinds = (LinearMultistep, ss.EDMHeun, ss.Restart)
    assert set(PUBLISHED) == {n for n in ss.solver_names() if isinstance(ss.solver(n), kinds)}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_preset_is_its_published_formula(name, process):
    formula, options = PUBLISHED[name]
    times = [share * process.T for share in SHARES]
    if isinstance(process, ss.VESDE):
        times = [0.2 + 0.8 * share for share in SHARES]
    if isinstance(process, ss.EDM):
        times = [10 * share**2 for share in SHARES]
    x = process.prior((1,)).sample(6, seed=2)
    stream = Streams(5, 0, 6, (1,), dtype=torch.float64)
    expected = formula(Model(process), times, x, stream.normal, **options)
    sol = ss.sample(
        process,
        DATA.score(process),
        (6, 1),
        solver=ss.solver(name),
        grid=torch.tensor(times, dtype=torch.float64),
        x=x,
        seed=5,
    )
    assert (sol.x - expected).abs().max() < 1e-10 * expected.abs().max()
