"""Mistakes of a caller that would give wrong numbers without a word."""

import pytest
import torch

import sdesolve as ss

PROCESS = ss.VPSDE()
MIX = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.3]], 0.04)
SCORE = MIX.score(PROCESS)
X = MIX.sample(3, seed=1)


def _detached(x, t):
    return SCORE(x.detach(), t)


@pytest.mark.parametrize(
    "score",
    [torch.no_grad()(SCORE), torch.inference_mode()(SCORE), _detached],
    ids=["no_grad", "inference_mode", "detach"],
)
@pytest.mark.parametrize("divergence", [ss.Exact(), ss.Hutchinson(1)], ids=str)
def test_the_likelihood_of_a_score_without_gradient_is_refused(score, divergence):
    with pytest.raises(TypeError, match="no_grad"):
        ss.log_likelihood(PROCESS, score, X, divergence=divergence)


@pytest.fixture(scope="module")
def tuned():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sdesolve.tuning.paths.PUBLISHED", ("dpmpp-2m",))
        patch.setattr("sdesolve.tuning.paths.usual_grids", lambda scale: {"Karras": ss.Karras()})
        return ss.tune(PROCESS, SCORE, 4, X, trajectories=16, quick=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t_span": (0.5, 0.01)}, "not from 0.5 to 0.01"),
        ({"t_span": (1e-3, 1.0)}, "not from 0.001 to 1"),
        ({"steps": 9, "nfe": None}, "leave steps out"),
        ({"nfe": 3}, "takes 4"),
    ],
)
def test_a_tuned_solver_runs_its_own_times_only(tuned, change, message):
    given = {"t_span": (PROCESS.T, PROCESS.eps), "nfe": 4} | change
    with pytest.raises(ValueError, match=message):
        ss.solve(PROCESS.reverse(SCORE, 0), X, given.pop("t_span"), solver=tuned, **given)


class _Bringing:
    """A score that brings a tuned solver, as a network of the zoo does."""

    def __init__(self, process, tuned):
        self.tuned = {4: tuned}
        self.score = MIX.score(process)

    def __call__(self, x, t):
        return self.score(x, t)


def test_a_solver_that_a_score_brings_serves_its_own_process_only(tuned):
    noise = PROCESS.prior((2,)).sample(3, seed=0)

    def both(process, x):
        brought = _Bringing(process, tuned)
        given = {"x": x, "nfe": 4}
        default = ss.sample(process, brought.score, x.shape, **given)
        return ss.sample(process, brought, x.shape, **given).x, default.x

    assert not torch.equal(*both(PROCESS, noise))
    assert torch.equal(*both(ss.VPSDE(0.1, 19.0), noise))


@pytest.mark.parametrize("kept", [None, ss.Isotropic(0.3)], ids=str)
def test_guidance_and_thresholds_keep_the_reference(kept):
    def score(x, t, label=None):
        return SCORE(x, t)

    if kept is not None:
        score.reference = kept
    made = [
        ss.scores.threshold(score, PROCESS),
        ss.conditional.classifier_free_guidance(score, 2.0),
        ss.conditional.classifier_guidance(score, lambda x, t: x.sum(1)),
    ]
    assert all(getattr(one, "reference", None) is kept for one in made)


@pytest.mark.parametrize("name", ["from_noise", "from_data", "from_velocity", "from_denoiser"])
def test_a_network_of_another_shape_is_not_broadcast(name):
    x, t = torch.zeros(2, 3, 4, 4), torch.full((2,), 0.5)
    make = getattr(ss.scores, name)
    with pytest.raises(ValueError, match="tensor like x"):
        make(lambda x, t: x[:, :1], PROCESS)(x, t)
    with pytest.raises(ValueError, match="learned variance"):
        make(lambda x, t: torch.cat([x, x], dim=1), PROCESS)(x, t)


@pytest.mark.parametrize("steps", [5, 50])
def test_known_values_are_known_at_the_end(steps):
    process, known = ss.EDM(0.01, 10.0), torch.tensor([0.7, 0.0])
    corrector = ss.Inpainting(ss.Langevin(), known, torch.tensor([1, 0]))
    solver = ss.PredictorCorrector(ss.ReverseDiffusion(), corrector)
    sol = ss.sample(process, MIX.score(process), (400, 2), solver=solver, steps=steps)
    gap = sol.x[:, 0] - 0.7
    assert gap.square().mean().sqrt() == pytest.approx(0.01, rel=0.15)  # the noise at eps
    assert sol.x[:, 1].std() > 0.1


def test_a_reference_is_measured_on_conditional_scores_too(monkeypatch):
    """Every row under its own condition: what is measured is a class, not the whole data."""
    monkeypatch.setattr("sdesolve.tuning.paths.PUBLISHED", ("dpmpp-2m",))
    monkeypatch.setattr("sdesolve.tuning.paths.usual_grids", lambda scale: {"Karras": ss.Karras()})
    classes = [ss.Gaussian([m, 0.0], 0.04).score(PROCESS) for m in (-1.0, 1.0)]

    def score(x, t, label):
        return torch.where(label[:, None] == 0, classes[0](x, t), classes[1](x, t))

    seen = []
    measure = ss.MeasuredReference.from_score.__func__

    def measured(cls, process, score, x, base):
        seen.append(measure(cls, process, score, x, base))
        return seen[-1]

    monkeypatch.setattr(ss.MeasuredReference, "from_score", classmethod(measured))
    cond = {"label": torch.arange(64) % 2}
    given = {"trajectories": 64, "quick": True, "cache": False, "cond": cond}
    tuned = ss.tune(PROCESS, score, 3, MIX.sample(100), **given)
    assert any("measured" in label for label in tuned.report)
    (reference,) = seen
    atoms = reference.variances[0]
    gain = (reference.weights * (atoms / (atoms + 0.3))).sum(1)[0].item()
    # Along the axis of the classes the data's variance is 1.04, that of a class 0.04.
    assert abs(gain - 0.04 / 0.34) < 0.1 < abs(gain - 1.04 / 1.34)


def test_a_broken_cache_is_written_anew(monkeypatch, tmp_path):
    monkeypatch.setattr("sdesolve.tuning.paths.PUBLISHED", ("dpmpp-2m",))
    monkeypatch.setattr("sdesolve.tuning.paths.usual_grids", lambda scale: {"Karras": ss.Karras()})

    def tune():
        return ss.tune(PROCESS, SCORE, 2, X, trajectories=16, quick=True, cache=tmp_path)

    first = tune()
    (file,) = [f for f in tmp_path.rglob("*.json") if f.is_file()]
    file.write_bytes(b"torn")
    with pytest.raises(ValueError, match="holds no tuned solver"):
        ss.Tuned.load(file)
    assert tune().choice == first.choice
    assert ss.Tuned.load(file).choice == first.choice
