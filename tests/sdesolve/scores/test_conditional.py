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


def _labelled(calls=None):
    """A score that always has a label; -1 is the empty one."""
    process = PROCESSES[0]

    def score(x, t, label, more=None, flag=False):
        if calls is not None:
            calls.append(len(x))
        held = _score(process)(x, t, label.clamp(min=0))
        free = BOTH.score(process)(x, t)
        return torch.where(label[:, None] < 0, free, held)

    return score


X = torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
TIMES = torch.tensor([0.1, 0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
EMPTY = {"label": torch.tensor([-1])}
guide = ss.conditional.classifier_free_guidance


def test_a_null_condition_is_asked_in_one_call_or_two():
    expected = guide(_score(PROCESSES[0]), 3.0)(X, TIMES, **label_of)
    for batched, lengths in ((None, [10]), (True, [10]), (False, [5, 5])):
        calls = []
        guided = guide(_labelled(calls), 3.0, null=EMPTY, batched=batched)
        assert torch.allclose(guided(X, TIMES, **label_of), expected)
        assert calls == lengths


def test_nested_conditions_are_joined_and_what_differs_is_asked_apart():
    calls = []
    nested = {**label_of, "more": {"ids": torch.zeros(5, 2)}, "flag": True}
    guided = guide(_labelled(calls), 3.0, null={**EMPTY, "more": {"ids": torch.ones(1, 2)}})
    expected = guide(_score(PROCESSES[0]), 3.0)(X, TIMES, **label_of)
    assert torch.allclose(guided(X, TIMES, **nested), expected)
    longer = guide(_labelled(calls), 3.0, null={**EMPTY, "more": {"ids": torch.ones(1, 3)}})
    assert torch.allclose(longer(X, TIMES, **nested), expected)
    assert calls == [10, 5, 5]
    with pytest.raises(ValueError, match="pad them"):
        guide(_labelled(), 3.0, null={"more": {"ids": torch.ones(1, 3)}}, batched=True)(
            X, TIMES, **nested
        )


def test_weights_are_per_sample_functions_of_time_or_entries_of_the_condition():
    score, weights = _score(PROCESSES[0]), torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    each = torch.cat(
        [guide(score, w.item())(X[i : i + 1], TIMES[i : i + 1], label=label_of["label"][i : i + 1])
         for i, w in enumerate(weights)]
    )  # fmt: skip
    for guided, more in (
        (guide(score, weights), {}),
        (guide(score, lambda t: weights), {}),
        (guide(score, "w"), {"w": weights}),
        (guide(_labelled(), weights, null=EMPTY), {}),
    ):
        assert torch.allclose(guided(X, TIMES, **label_of, **more), each)
    wide = torch.ones(5, 3, 5, 5)
    for wrong in (torch.ones(3), torch.ones(5, 2), torch.ones(1, 5)):
        with pytest.raises(ValueError, match="one for each sample"):
            guide(lambda x, t, label=None: x, wrong)(wide, TIMES, **label_of)
    square = guide(lambda x, t, label=None: x if label is None else 0 * x, weights)
    out = square(wide.double(), TIMES, **label_of)  # width equal to the batch
    assert out[:, 0, 0, 0].tolist() == [1.0, 0.0, -1.0, -2.0, -3.0]


def test_named_weights_are_cut_into_chunks_with_the_samples():
    score, weights = _score(PROCESSES[0]), torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    cond = {**label_of, "w": weights}
    whole, parts = (
        ss.sample(PROCESSES[0], guide(score, "w"), (5, 2), nfe=6, cond=cond, batch_size=n).x
        for n in (None, 2)
    )
    assert torch.allclose(whole, parts, atol=1e-5)
    with pytest.raises(ValueError, match="entry of cond"):
        guide(score, "w")(X, TIMES, **label_of)


def test_an_interval_of_times_and_rescaling():
    score = _score(PROCESSES[0])
    plain, held = guide(score, 4.0)(X, TIMES, **label_of), score(X, TIMES, **label_of)
    within = guide(score, 4.0, interval=(0.5, 2.0))(X, TIMES, **label_of)
    inside = torch.tensor([False, True, True, True, False])[:, None]
    assert torch.allclose(within, torch.where(inside, plain, held))
    full = guide(score, 4.0, rescale=1.0)(X, TIMES, **label_of)
    assert torch.allclose(full.std(1), held.std(1))
    half = guide(score, 4.0, rescale=0.5)(X, TIMES, **label_of)
    assert torch.allclose(half, (plain + full) / 2)
    for wrong in ({"rescale": 2.0}, {"interval": (2.0, 1.0)}, {"batched": True}):
        with pytest.raises(ValueError):
            guide(score, 4.0, **wrong)
