"""Guidance: two ways to one law, on two Gaussians whose posterior is known."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sdesolve as ss

PROCESSES = [ss.EDM(0.01, 8.0), ss.VPSDE(), ss.SubVPSDE()]
MODES = torch.tensor([[-1.0, 0.5], [1.0, 0.0]], dtype=torch.float64)
BOTH = ss.GaussianMixture([0.5, 0.5], MODES, 0.04)
EACH = [ss.Gaussian(mode, 0.04) for mode in MODES]
label_of = {"label": torch.tensor([0, 1, 1, 0, 1])}


def _score(process):
    """Of a class where there is a label, and of both together."""

    def score(x, t, label=None):
        if label is None:
            return BOTH.score(process)(x, t)
        one, two = (law.score(process)(x, t) for law in EACH)
        return torch.where(label[:, None] == 0, one, two)

    return score


def _log_posterior(process):
    """log p_t(label | x), by Bayes' rule."""

    def log_prob(x, t, label):
        one, two = (law.log_prob(x, process, t) for law in EACH)
        return torch.where(label == 0, one, two) - BOTH.log_prob(x, process, t)

    return log_prob


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@given(weight=st.floats(0.0, 8.0), at=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_a_classifier_and_a_conditional_score_guide_alike(process, weight, at, seed):
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    t = torch.full((5,), process.T * at, dtype=torch.float64)
    free = ss.conditional.classifier_free_guidance(_score(process), weight)
    read = ss.conditional.classifier_guidance(BOTH.score(process), _log_posterior(process), weight)
    a, b = free(x, t, **label_of), read(x, t, **label_of)
    assert torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


def test_weight_one_is_the_class_and_weight_zero_everything():
    process = PROCESSES[0]
    score = _score(process)

    def run(score, cond):
        return ss.sample(process, score, (5, 2), nfe=8, cond=cond).x

    guide = ss.conditional.classifier_free_guidance
    assert torch.equal(run(guide(score, 1.0), label_of), run(score, label_of))
    assert torch.equal(run(guide(score, 0.0), label_of), run(score, None))


def test_guidance_without_a_condition_says_what_to_write():
    guided = ss.conditional.classifier_free_guidance(_score(PROCESSES[0]), 2.0)
    with pytest.raises(ValueError, match="cond="):
        ss.sample(PROCESSES[0], guided, (2, 2), nfe=4)
