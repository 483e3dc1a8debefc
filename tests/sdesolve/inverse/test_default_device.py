"""With another default device, what belongs on the host or beside the state stays there."""

import pytest
import torch

import sdesolve as ss

inv = ss.inverse
PROCESS, EVENT = ss.EDM(), (1, 4, 4)
FLAT = ss.Gaussian(torch.zeros(16), 1.0).score(PROCESS)


def score(x, t):
    return FLAT(x.flatten(1), t).reshape(x.shape)


score.reference = ss.GaussianReference.from_data(
    torch.randn(50, *EVENT, generator=torch.Generator().manual_seed(0))
)
MAKE = {
    "mask": lambda one: inv.Mask(one),
    "mean": lambda one: inv.Downsample(2),
    "blur": lambda one: inv.Blur.gaussian(0.3),
    "stroke": lambda one: inv.Blur.motion(3, 20.0),
    "fourier": lambda one: inv.Fourier(one[0]),
    "radon": lambda one: inv.Radon(4, 2),
    "function": lambda one: inv.Linear(lambda x: 2 * x, EVENT),
    "matrix": lambda one: inv.Matrix.of(inv.Downsample(2), EVENT),
    "projection": lambda one: inv.Projection(one[None] / 4),
}


@pytest.mark.parametrize("name", MAKE)
def test_observations_posteriors_and_particles_run_beside_the_state(name):
    one = torch.ones(EVENT)
    with torch.device("meta"):
        A = MAKE[name](one)
        y = A(one[None])
        methods = ["moments", "reference", "diffpir", "dps"]
        if A.closed_form:
            assert A.singular_values(EVENT).device.type == "cpu"
            methods += ["ddrm", "pigdm", "replace"]
        for method in methods:
            given = inv.posterior(PROCESS, score, A, y, 0.1, method)
            assert ss.sample(PROCESS, given, (2, *EVENT), nfe=3, device="cpu").ok
        options = {"particles": 8, "nfe": 3, "threshold": 1.0, "device": "cpu"}
        assert inv.particles(PROCESS, score, (2, *EVENT), A, y[0], 0.1, **options).ok
