"""The file of a tuning: another one wherever the result could differ, the same one otherwise."""

import importlib

import pytest
import torch

import sdesolve as ss
from sdesolve.references.base import Reference
from sdesolve.tuning.cache import cache_name

PROCESS = ss.EDM()
MIX = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.04)
SCORE = MIX.score(PROCESS)
DATA = MIX.sample(200)
X = PROCESS.prior((2,)).sample(128, seed=0, dtype=torch.float64)
SETTINGS = {"nfe": 5, "stochasticity": 0.0, "surrogate": None, "quick": True}


def _conditional(x, t, **cond):
    return SCORE(x, t)


def _file(score=SCORE, data=DATA, reference=None, cond=None, x=X, **changed):
    return cache_name(PROCESS, score, x, data, reference, {**SETTINGS, **changed}, cond or {})


@pytest.mark.parametrize("data", [DATA, None])
def test_scores_that_differ_anywhere_have_files_of_their_own(data):
    def late(x, t):
        """Another score at small noise only."""
        return SCORE(x, t) * (1 + 0.1 * (t < 0.05))[:, None]

    def early(x, t):
        return SCORE(x, t) * (1 + 0.1 * (t > 20))[:, None]

    scores = [
        SCORE,
        lambda x, t: 3 * SCORE(x, t),
        ss.scores.threshold(SCORE, PROCESS, -1.5, 1.5),
        ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.05).score(PROCESS),
        late,
        early,
    ]
    assert len({_file(score, data) for score in scores}) == len(scores)


def test_the_last_digits_of_a_score_do_not_matter():
    assert _file(lambda x, t: SCORE(x, t) * (1 + 1e-9)) == _file()


def test_a_process_is_what_it_does_whatever_it_is_called():
    """One whose repr is an address is found again; two of one repr are told apart."""

    class Own(ss.EDM):
        def __repr__(self):
            return self.title

    def file(title, **numbers):
        own = Own(**numbers)
        object.__setattr__(own, "title", title)
        return cache_name(own, SCORE, X, DATA, None, SETTINGS, {})

    assert file("at 0x1") == file("at 0x2")
    assert file("own") != file("own", sigma_max=70.0)


def test_data_of_another_scale_are_other_data():
    files = {_file(data=data) for data in (DATA, 255 * DATA, DATA + 1, DATA[:100], DATA.float())}
    assert len(files | {_file(data=None)}) == 6


def test_references_are_told_apart_by_their_numbers():
    base = ss.GaussianReference.from_data(DATA)
    images = DATA.reshape(-1, 2)
    references = [
        None,
        base,
        ss.GaussianReference.from_data(DATA * 100 + 7),
        ss.GaussianReference(base.mean + 1, base.directions, base.variances[:-1, 0], 0.0),
        ss.SpectralReference.from_data(images),
        ss.SpectralReference.from_data(3 * images),
        ss.Isotropic(0.25),
        ss.Isotropic(0.26),
        ss.MeasuredReference(base, torch.tensor([0.1, 1.0]), torch.ones(3, 2)),
        ss.MeasuredReference(base, torch.tensor([0.1, 2.0]), torch.ones(3, 2)),
    ]
    assert len({_file(reference=r) for r in references}) == len(references)
    assert _file(reference=ss.GaussianReference.from_data(DATA)) == _file(reference=base)


def test_conditions_are_told_apart_by_name_scale_and_entry():
    one = torch.ones(128)
    other = torch.arange(128)
    conds = [
        {},
        {"w": one},
        {"w": 7 * one},
        {"v": one},
        {"v": one, "w": 7 * one},
        {"v": 7 * one, "w": one},
        {"y": other},
        {"y": other + 1},
    ]
    assert len({_file(_conditional, cond=cond) for cond in conds}) == len(conds)
    a = _file(_conditional, cond={"v": one, "w": 7 * one})
    assert a == _file(_conditional, cond={"w": 7 * one, "v": one})


def test_every_setting_has_a_file_of_its_own(monkeypatch):
    files = []

    def stop(*arguments):
        files.append(cache_name(*arguments))
        raise InterruptedError

    monkeypatch.setattr(importlib.import_module("sdesolve.tuning.search"), "cache_name", stop)
    usual = {"nfe": 5, "trajectories": 16}
    for changed in (
        {},
        {"nfe": 6},
        {"stochasticity": 0.5},
        {"surrogate": "mixture"},
        {"trajectories": 32},
        {"seed": 1},
        {"quick": True},
        {"method": "gradient"},
        {"minutes": 2},
        {"minutes": 2, "loss": "huber"},
    ):
        with pytest.raises(InterruptedError):
            ss.tune(PROCESS, SCORE, data=DATA, cache=True, **{**usual, **changed})
    assert len(set(files)) == 10


def test_a_loss_of_ones_own_is_known_by_what_it_returns(monkeypatch):
    """Whatever its repr, which is an address: no two share a file, none is tuned anew each time."""

    def file(loss):
        search = importlib.import_module("sdesolve.tuning.search")
        found = []
        monkeypatch.setattr(search, "cache_name", lambda *given: found.append(cache_name(*given)))
        with pytest.raises(TypeError):  # no name: it stops there
            ss.Tuner(PROCESS, SCORE, DATA, loss=loss, minutes=1, cache=True).tune(5)
        return found[0]

    losses = [
        "rmse",
        lambda x, y: (x - y).abs().mean(),
        lambda x, y: (x - y).square().mean().sqrt(),
        lambda x, y: (x - y)[:, 0].square().mean().sqrt(),
        lambda x, y: (x.tanh() - y.tanh()).square().mean().sqrt(),
    ]
    files = [file(loss) for loss in losses]
    assert len(set(files)) == len(files)
    assert file(lambda x, y: (x - y).abs().mean() * (1 + 1e-9)) == files[1]


def test_references_that_cannot_be_saved_are_refused_before_tuning():
    class Mine(Reference):
        scale = 1.0
        energy = None

        def frame(self, x):
            return None

    with pytest.raises(TypeError, match="cache=False"):
        ss.tune(PROCESS, SCORE, 5, DATA, reference=Mine(), cache=True)
