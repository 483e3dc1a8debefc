"""With another default device, what belongs on the host or beside the state stays there."""

import pytest
import torch

import sdesolve as ss

PROCESS = ss.VPSDE(0.1, 19.0)  # of no other test, whose tables would be found in the cache
MIX = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.04)
SCORE = MIX.score(PROCESS)
X = PROCESS.prior((2,)).sample(4, seed=0, dtype=torch.float64)
DATA = MIX.sample(60)
TIMES = torch.tensor([0.1, 0.5])


@pytest.mark.parametrize("name", ss.solver_names())
def test_every_solver_runs_beside_its_state(name):
    def run():
        given = {} if name.startswith("adaptive") else {"nfe": 16}
        return ss.sample(PROCESS, SCORE, X.shape, x=X, solver=ss.solver(name), **given)

    with torch.device("meta"):
        sol = run()
    if not name.startswith("adaptive"):  # which take long
        assert torch.equal(sol.x, run().x)
    assert torch.isfinite(sol.x).all()
    for field in ("x", "t", "nfe", "status", "reached", "accepted", "rejected"):
        assert getattr(sol, field).device.type == "cpu", field


def _by_number():
    mix = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.04)
    return mix.score(PROCESS)(X, 0.5)


def _chain():
    return ss.chain(PROCESS, SCORE, X, 0.5, corrector=ss.Langevin(), corrections=2).x


@pytest.mark.parametrize(
    "make",
    [
        _by_number,
        _chain,
        lambda: ss.log_likelihood(PROCESS, SCORE, X).log_prob,
        lambda: ss.variational_bound(PROCESS, SCORE, X).log_prob,
        lambda: ss.encode(PROCESS, SCORE, X).x,
        lambda: ss.log_density_path(PROCESS, SCORE, X, TIMES).log_prob,
        lambda: ss.GaussianReference.from_data(DATA).variances,
        lambda: ss.SpectralReference.from_data(DATA).variances,
        lambda: ss.MeasuredReference.from_score(PROCESS, SCORE, DATA).weights,
        lambda: ss.DDPM().times(ss.VPSDE(0.1, 30.0)),
        lambda: ss.SMLD().sigmas,
        lambda: torch.tensor(ss.metrics.sliced_wasserstein(X, DATA), device="cpu"),
        lambda: ss.EmpiricalScore(DATA, PROCESS)(X, 0.5),
        lambda: ss.BrownianPath((0.0, 1.0), 8, (2,), batch=3).increment(0.0, 0.5)[0],
    ],
)
def test_other_functions_too(make):
    with torch.device("meta"):
        value = make()
    assert value.device.type == "cpu"
    assert torch.equal(value, make())


def test_tuning_too(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sdesolve.tuning.paths.PUBLISHED", ("dpmpp-2m",))
    monkeypatch.setattr("sdesolve.tuning.paths.usual_grids", lambda scale: {"Karras": ss.Karras()})
    given = {"surrogate": "mixture", "reference": ss.Isotropic(1.0), "quick": True}
    with torch.device("meta"):
        tuned = ss.tune(PROCESS, None, 2, DATA, trajectories=16, **given)
    assert torch.isfinite(ss.sample(PROCESS, SCORE, X.shape, x=X, solver=tuned, nfe=2).x).all()
