"""Everything public goes to a worker process and comes back, and can be copied."""

import copy
import dataclasses
import pickle

import pytest
import torch

import sdesolve as ss
from benchmarks.fuzz_surface.shared import DATA, IMAGES, LAW, PROCESS, SCORE, X
from sdesolve.closed_forms.surrogate import fit_mixture


class Net(torch.nn.Module):
    """A network, at the top of a module as users' are."""

    def forward(self, x, t, label=None):
        return 0.5 * x


def energy(x, t):
    return x.square().flatten(1).sum(1) / 2


def log_prob(x, t):
    return -energy(x, t)


T = torch.full((3,), 0.5)
NET = Net()
SCORES = {
    "mixture": SCORE,
    "gaussian": ss.Gaussian([0.0, 1.0], [[1.0, 0.2], [0.2, 0.5]]).score(PROCESS),
    "empirical": ss.EmpiricalScore(DATA, PROCESS),
    "surrogate": fit_mixture(DATA).score(PROCESS),
    "energy": ss.scores.from_energy(energy),
    "changed": ss.scores.change_process(SCORE, PROCESS, ss.VESDE()),
    "threshold": ss.scores.threshold(SCORE, PROCESS),
    "classifier": ss.conditional.classifier_guidance(SCORE, log_prob),
    "guided": ss.conditional.classifier_free_guidance(NET, 2.0),
    "flow": ss.scores.from_flow(NET, ss.RectifiedFlow()),
    **{
        name: getattr(ss.scores, name)(NET, PROCESS)
        for name in ("from_noise", "from_data", "from_velocity", "from_denoiser")
    },
}
RUN = ss.sample(PROCESS, SCORE, (3, 2), nfe=5, save_path=True)
THINGS = {
    **{f"solver {name}": ss.solver(name) for name in ss.solver_names()},
    **{
        kind.__name__: kind()
        for kind in (ss.VPSDE, ss.SubVPSDE, ss.VESDE, ss.ExponentialVESDE, ss.EDM)
    },
    **{kind.__name__: kind() for kind in (ss.DDPM, ss.SMLD, ss.RectifiedFlow)},
    **{kind.__name__: kind() for kind in (ss.Karras, ss.Sech, ss.LogSNR, ss.Theta, ss.Cosine)},
    **{kind.__name__: kind() for kind in (ss.HMC, ss.MALA, ss.Langevin)},
    **{kind.__name__: kind() for kind in (ss.Exact, ss.Hutchinson, ss.HutchPlusPlus)},
    "Density": ss.Density(torch.linspace(-5, 5, 5), torch.zeros(5)),
    "Inpainting": ss.Inpainting(ss.Langevin(), X, torch.ones(2)),
    "mixture": LAW,
    "prior": PROCESS.prior((2,)),
    "Isotropic": ss.Isotropic(0.25),
    "GaussianReference": ss.GaussianReference.from_data(DATA),
    "SpectralReference": ss.SpectralReference.from_data(IMAGES),
    "MeasuredReference": ss.MeasuredReference.from_score(PROCESS, SCORE, DATA),
    "ReverseSDE": PROCESS.reverse(SCORE),
    "Solution": RUN,
    "LogLikelihood": ss.log_likelihood(PROCESS, SCORE, X, divergence=ss.Exact()),
    "Chain": ss.chain(PROCESS, SCORE, X, 0.5, corrector=ss.Langevin(), corrections=2),
    "Quantisation": ss.dequantise.Quantisation(256, (0.0, 1.0)),
    "UnfinishedError": ss.UnfinishedError("some failed", RUN),
    "BrownianPath": ss.BrownianPath((0.0, 1.0), 8, (2,), batch=3),
}
WAYS = {"pickle": lambda thing: pickle.loads(pickle.dumps(thing)), "copy": copy.deepcopy}


def same(a, b):
    """Whether two objects hold the same, field by field."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a.nan_to_num(), b.nan_to_num())
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return repr(a) == repr(b) if "0x" not in repr(a) else True


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", THINGS)
def test_everything_pickles_and_copies(name, way):
    assert same(THINGS[name], WAYS[way](THINGS[name]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SCORES)
def test_scores_pickle_and_stay_the_same_function(name, way):
    cond = {"label": torch.zeros(3)} if name == "guided" else {}
    again = WAYS[way](SCORES[name])
    assert torch.equal(again(X, T, **cond), SCORES[name](X, T, **cond))
    assert "<locals>" not in repr(again)
    assert " at 0x" not in repr(again).replace(repr(energy), "").replace(repr(log_prob), "")


def test_a_score_that_brings_a_reference_still_does():
    score = LAW.score(PROCESS)
    score.reference = ss.Isotropic(0.5)
    assert pickle.loads(pickle.dumps(score)).reference == ss.Isotropic(0.5)
