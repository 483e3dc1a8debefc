"""Quantised data: bits, offsets, and noise that stays within a bin."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sdesolve as ss

# torch itself warns when it first loads its forward-mode rules.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

DOUBLE = torch.float64
# One product at a time: for two values that is the quickest.
EXACT = ss.Exact(memory=1)


def test_bits_of_quantised_data():
    process = ss.VPSDE(eps=1e-5)
    law = ss.Gaussian([0.1], 0.3)
    width = 6.0 / 16
    levels = torch.tensor([3.0, 5.0, 11.0], dtype=DOUBLE)
    x = (-3 + width * (levels + 0.5))[:, None]
    cdf = torch.distributions.Normal(0.1, 0.3**0.5).cdf
    bits = -torch.log2(cdf(x + width / 2) - cdf(x - width / 2))[:, 0]
    copies = 1000
    x = x.repeat(copies, 1)
    options = {"divergence": EXACT, "rtol": 1e-4, "atol": 1e-4}
    score = law.score(process)
    ll = ss.log_likelihood(process, score, x, bins=16, scale=(-3, 3), draws=4, **options)
    assert ll.draws.shape == (4, 3 * copies)

    def mean_and_error(nats):
        values = (-nats / math.log(2) - math.log2(width)).reshape(copies, 3)
        return values.mean(0), 4 * values.std(0) / math.sqrt(copies)

    # What uniform dequantisation costs, in closed form: a mean of the log over the bin.
    middle = (x[:3, 0] - 0.1) ** 2 + width**2 / 12
    uniform = (middle / 0.3 + math.log(2 * math.pi * 0.3)) / (2 * math.log(2)) - math.log2(width)
    loose, error = mean_and_error(ll.log_prob)
    assert ((loose - uniform).abs() < error + 1e-3).all()
    tight, error = mean_and_error(ll.importance_weighted)
    assert (tight + error > bits).all()
    assert (tight + error < uniform).all()
    torch.testing.assert_close(ll.bits_per_dim, -ll.log_prob / math.log(2) - math.log2(width))
    torch.testing.assert_close(ll.spread, ll.draws.std(0))


@pytest.mark.parametrize(("scale", "offset"), [((-1, 1), 7.0), ((0, 1), 8.0)])
def test_offset_follows_from_the_scale(scale, offset):
    process = ss.VPSDE()
    low, high = scale
    pixels = torch.tensor([[0, 7, 128, 255]])
    x = low + (high - low) * pixels.double() / 255
    law = ss.Gaussian(torch.zeros(4), 0.3)
    ll = ss.log_likelihood(process, law.score(process), x, divergence=EXACT, bins=256, scale=scale)
    assert ll.bits_per_dim.item() + ll.log_prob.item() / (4 * math.log(2)) == pytest.approx(offset)


@settings(max_examples=30, deadline=None)
@given(
    bins=st.sampled_from([2, 8, 256]),
    low=st.floats(-2, 2),
    span=st.floats(0.1, 300),
    single=st.booleans(),
)
def test_dequantisation_stays_in_the_bin_of_its_level(bins, low, span, single):
    quantisation = ss.dequantise.Quantisation(bins, (low, low + span))
    levels = torch.arange(bins, dtype=DOUBLE)
    z = torch.randn(bins, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    places = [
        low + span * levels / (bins - 1),
        low + quantisation.width * (levels + 0.5),
        low + quantisation.width * levels,
    ]
    for x in places:
        x, noise = (x.float(), z.float()) if single else (x, z)
        assert torch.equal(quantisation.levels(x).double(), levels)
        inside = (quantisation.dequantise(x, noise).double() - low) / quantisation.width - levels
        assert inside.min() > -1e-3 and inside.max() < 1 + 1e-3
