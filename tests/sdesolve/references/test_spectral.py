"""References made from data and from scores: bases, spectra, measured gains."""

import math

import pytest
import torch

import sdesolve as ss
from sdesolve.references.frames import combine


def _images(n, seed=0):
    """Images whose covariance is diagonal in the cosine basis, with a steep spectrum."""
    generator = torch.Generator().manual_seed(seed)
    k = torch.arange(6.0, dtype=torch.float64)
    spectrum = 1 / (1 + k[:, None] ** 2 + k**2) ** 2
    flat = ss.SpectralReference(torch.zeros(1, 6, 6), torch.ones(1, 6, 6))
    z = torch.randn(n, 1, 6, 6, generator=generator, dtype=torch.float64)
    return flat.frame(z).join((z * spectrum.sqrt(),)), spectrum


def test_cosine_basis_is_orthonormal_and_spectrum_is_recovered():
    x, spectrum = _images(20_000)
    reference = ss.SpectralReference.from_data(x, bands=64)
    frame = reference.frame(x)
    assert torch.allclose(frame.join(frame.split(x[:5])), x[:5], atol=1e-12)
    assert frame.split(x)[0].pow(2).sum().item() == pytest.approx(x.pow(2).sum().item())
    # Twenty thousand values: a variance is known to sqrt(2 / 20000) = 1 %.
    assert (reference.spectrum[0] / spectrum - 1).abs().max() < 5 * math.sqrt(2 / len(x))
    assert reference.scale == pytest.approx(x.std().item(), rel=0.02)


@pytest.mark.parametrize("kind", ["isotropic", "principal", "cosine"])
def test_energies_and_grams_are_sums_over_the_bands(kind):
    x, _ = _images(400)
    reference = {
        "isotropic": ss.Isotropic(0.3),
        "principal": ss.GaussianReference.from_data(x, rank=5),
        "cosine": ss.SpectralReference.from_data(x, bands=7),
    }[kind]
    frame = reference.frame(x)
    generator = torch.Generator().manual_seed(1)
    rows = [torch.rand(len(reference.variances), generator=generator).double() for _ in range(2)]
    y = combine([frame.split(x)], [frame.multiplier(rows[0])])
    z = combine([frame.split(x)], [frame.multiplier(rows[1])])
    gram = frame.gram([y, z])
    direct = [(frame.join(a) * frame.join(b)).sum() for a, b in ((y, y), (y, z), (z, z))]
    assert torch.allclose(gram.sum(0)[[0, 0, 1], [0, 1, 1]], torch.stack(direct), rtol=1e-9)
    # A band's number multiplies its own inner products and no other's.
    plain = frame.gram([frame.split(x)])[:, 0, 0]
    assert torch.allclose(gram[:, 0, 1], rows[0] * rows[1] * plain, rtol=1e-7, atol=1e-9)
    sizes = plain / len(x) / reference.energy(x)
    assert sizes.sum().item() == pytest.approx(36, rel=1e-9)


def test_states_of_any_memory_layout_move_alike():
    """Principal directions are added in place where a state is one block, beside it elsewhere."""
    process, x = ss.EDM(), torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    reference = ss.GaussianReference.from_data(x, rank=2)
    score = ss.Gaussian(torch.zeros(3, 6, 6), 0.3).score(process)
    solver = ss.ExponentialAdams(2, reference=reference)

    def run(x):
        return ss.sample(process, score, x.shape, x=x, solver=solver, nfe=4).x

    turned = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert not turned.is_contiguous()
    assert torch.allclose(run(turned), run(x), rtol=1e-5, atol=1e-6)


def test_gain_measured_on_gaussian_data_is_that_of_its_covariance():
    process = ss.EDM(sigma_max=20.0)
    variances = torch.tensor([4.0, 0.25, 0.01], dtype=torch.float64)
    data = ss.Gaussian(torch.zeros(3), variances)
    x = data.sample(4000, seed=1)
    base = ss.GaussianReference(torch.zeros(3), torch.eye(3), variances, 0.0)
    measured = ss.MeasuredReference.from_score(process, data.score(process), x, base)
    lam = torch.linspace(-2.5, 5.5, 20, dtype=torch.float64)
    # The sampling error of a variance is sqrt(2 / 4000) = 2 %; the fit over levels halves it.
    error = (measured.gain(lam) - base.gain(lam))[:3].abs()
    assert error.max() < 0.05


def test_gain_of_far_components_falls_below_that_of_the_covariance():
    """Where the posterior has picked a component, only that component's width is left."""
    process = ss.EDM()
    mix = ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 1e-4)
    x = mix.sample(1000)
    measured = ss.MeasuredReference.from_score(process, mix.score(process), x)
    lam = torch.tensor([-math.log(0.2)], dtype=torch.float64)
    claimed = ss.GaussianReference.from_data(x).gain(lam)[0].item()
    assert claimed > 0.9
    assert measured.gain(lam)[0].item() < 0.1


def test_bad_references_are_refused():
    with pytest.raises(ValueError, match="orthonormal"):
        ss.GaussianReference(torch.zeros(2), torch.ones(1, 2), torch.ones(1), 0.1)
    with pytest.raises(ValueError, match="variance must be a number, 0 or more"):
        ss.Isotropic(-1.0)
    with pytest.raises(ValueError, match="n >= 2"):
        ss.GaussianReference.from_data(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="infinite or NaN"):
        ss.SpectralReference.from_data(torch.full((3, 4), math.nan))
    process = ss.EDM()
    reference = ss.GaussianReference.from_data(torch.randn(9, 3))
    score = ss.Gaussian([0.0, 0.0], 1.0).score(process)
    with pytest.raises(ValueError, match=r"made for events \(3,\)"):
        ss.sample(process, score, (2, 2), solver=ss.ExponentialAdams(reference=reference), nfe=3)


def test_moments_come_from_the_score_where_there_are_no_data():
    process, mix = ss.EDM(), ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.5], [1.0, 0.5]], 0.04)
    drawn = ss.reference_from_score(process, mix.score(process), (2,), samples=2000)
    exact = ss.GaussianReference.from_data(mix.sample(2000, seed=1))
    assert torch.allclose(drawn.mean, exact.mean, atol=0.1)
    assert torch.allclose(drawn.variances, exact.variances, rtol=0.15, atol=0.01)
    again = ss.reference_from_score(process, mix.score(process), (2,), samples=2000)
    assert torch.equal(again.variances, drawn.variances)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_stochasticity_without_meaning_is_refused(value):
    process, mix = ss.EDM(), ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.04)
    solver = ss.ExponentialAdams(2, None, tau=lambda t: value)
    with pytest.raises(ValueError, match="must be a finite number, 0 or more"):
        ss.sample(process, mix.score(process), (2, 1), solver=solver, nfe=3)


def test_references_of_no_numbers_are_refused():
    nan = torch.tensor([math.nan])
    with pytest.raises(ValueError, match="weights hold"):
        ss.MeasuredReference(ss.Isotropic(0.5), torch.tensor([0.1]), nan[None])
    with pytest.raises(ValueError, match="mean holds"):
        ss.GaussianReference(nan, torch.ones(1, 1), torch.ones(1), 0.0)
