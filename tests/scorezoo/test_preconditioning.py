"""Any output, wrapped, is the same score; and EDM's coefficients do what they are for."""

import pickle

import pytest
import torch

import sdesolve as ss
from scorezoo.preconditioning import PRECONDITIONINGS, precondition
from sdesolve.shapes import expand_like

PROCESSES = [ss.VPSDE(), ss.SubVPSDE(), ss.VESDE(), ss.EDM()]
DATA = ss.Gaussian([0.3, -0.5, 0.1], 0.25)
SIGMA_DATA = 0.6


def _raw(kind, process):
    """The raw network that is right for DATA, from its exact score and the definitions."""
    exact = DATA.score(process)

    def parts(x, t):
        alpha, sigma = expand_like(process.alpha(t), x), expand_like(process.sigma(t), x)
        score = exact(x, t)
        return alpha, sigma, score, (x + sigma**2 * score) / alpha

    def net(x, t):
        alpha, sigma, score, data = parts(x, t)
        noise = -sigma * score
        return {
            "noise": noise,
            "data": data,
            "velocity": alpha * noise - sigma * data,
            "score": score,
        }[kind]

    def sigma_net(x, log_sigma):
        t = process.time(_log_snr_of(process, log_sigma.exp()))
        return expand_like(log_sigma.exp(), x) * exact(x, t)

    def edm_net(y, c_noise):
        s = expand_like((4 * c_noise).exp(), y)
        root = (s**2 + SIGMA_DATA**2).sqrt()
        y = y * root
        t = process.time(-4 * c_noise)
        alpha = expand_like(process.alpha(t), y)
        data = parts(alpha * y, t)[3]
        return (data - y * SIGMA_DATA**2 / root**2) * root / (s * SIGMA_DATA)

    def energy_net(u, c_noise):
        s = expand_like((4 * c_noise).exp(), u)
        mine, theirs = s**2 + SIGMA_DATA**2, s**2 + 0.25
        y, mean = u * mine.sqrt(), DATA.mean.to(u)
        square = (y**2).sum(1, keepdim=True) / (2 * mine)
        wanted = square - ((y - mean) ** 2).sum(1, keepdim=True) / (2 * theirs)
        return s / SIGMA_DATA * wanted * u / (u**2).sum(1, keepdim=True)

    return {"sigma": sigma_net, "edm": edm_net, "energy": energy_net}.get(kind, net)


def _log_snr_of(process, sigma):
    """log(alpha / sigma) at the time when the noise is sigma, by bisection."""
    low, high = torch.full_like(sigma, process.eps / 2), torch.full_like(sigma, process.T)
    for _ in range(80):
        middle = (low + high) / 2
        above = process.sigma(middle) > sigma
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return process.log_snr(low)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("kind", PRECONDITIONINGS)
def test_every_parameterisation_gives_the_exact_score(kind, process):
    t = torch.tensor([0.02, 0.3, 0.9], dtype=torch.float64) * process.T
    x = torch.cat([DATA.sample(1, process, float(s), seed=i) for i, s in enumerate(t)])
    score = precondition(_raw(kind, process), process, kind, SIGMA_DATA)(x, t)
    assert torch.allclose(score, DATA.score(process)(x, t), rtol=1e-6, atol=1e-9)


def test_labels_reach_the_network():
    seen = []

    def net(x, t, label):
        seen.append(label)
        return x

    for kind in PRECONDITIONINGS:
        score = precondition(net, ss.EDM(), kind, 0.5)
        score(torch.ones(2, 3), torch.ones(2), label=torch.arange(2))
    assert len(seen) == len(PRECONDITIONINGS)


def test_edm_input_and_target_have_unit_size_at_every_level():
    """For data of root mean square d the input and the best constant-free target have size one."""
    n, d, process = 100_000, 0.6, ss.EDM()
    generator = torch.Generator().manual_seed(0)
    data, noise = torch.randn(2, n, 1, generator=generator, dtype=torch.float64)
    data = d * data
    for s in (0.01, 0.6, 30.0):
        t = torch.full((n,), s, dtype=torch.float64)
        seen = []

        def spy(y, c, seen=seen):
            seen.append((y, c))
            return torch.zeros_like(y)

        x = process.perturb(data, t, noise)
        score = precondition(spy, process, "edm", d)(x, t)
        ((y, c),) = seen
        assert y.square().mean().item() == pytest.approx(1, abs=0.02)
        assert torch.allclose(c, t.log() / 4)
        # What F has to learn is the error of a zero F, divided by its coefficient.
        weight = d / (s * (s**2 + d**2) ** 0.5)
        target = (-noise / s - score) / weight
        assert target.square().mean().item() == pytest.approx(1, abs=0.02)


def test_nothing_cancels_at_small_noise():
    """In single precision the score of a raw network is right to rounding at sigma = 1e-4."""
    process = ss.EDM(sigma_min=1e-5)
    x, t = torch.tensor([[0.7, -0.3, 0.5]]), torch.tensor([1e-4])
    score = precondition(lambda y, c: 0.5 * y, process, "edm", 0.5)
    exact = precondition(lambda y, c: 0.5 * y, process, "edm", 0.5)(x.double(), t.double())
    assert torch.allclose(score(x, t).double(), exact, rtol=1e-6)


def test_bad_names_and_sizes_are_clear():
    with pytest.raises(ValueError, match="velocity"):
        precondition(lambda x, t: x, ss.EDM(), "eps")
    with pytest.raises(ValueError, match="root mean square"):
        precondition(lambda x, t: x, ss.EDM(), "edm")


@pytest.mark.parametrize("kind", PRECONDITIONINGS)
def test_scores_of_networks_pickle(kind):
    net = torch.nn.Bilinear(2, 1, 2)  # any module of (x, t) that a process can send
    score = precondition(_Column(net), PROCESSES[0], kind, 0.5)
    x, t = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), torch.full((3,), 0.4)
    again = pickle.loads(pickle.dumps(score))
    assert torch.equal(again(x, t), score(x, t))


class _Column(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, t):
        return self.inner(x, t[:, None])
