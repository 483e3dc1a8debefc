"""Objects written for torchsde, solved by our solvers as they are."""

import math

import pytest
import torch
import torchdiffeq
import torchsde

import sdesolve as ss
from sdesolve.interop import as_equation, from_torchsde
from tests.interop import start


class Foreign:
    """A linear equation in torchsde's words."""

    B = torch.tensor([[0.3, 0.1, 0.0], [-0.2, 0.2, 0.1]], dtype=torch.float64)

    def __init__(self, noise_type, sde_type):
        self.noise_type, self.sde_type = noise_type, sde_type
        self.f_calls = self.g_calls = 0

    def f(self, t, y):
        self.f_calls += 1
        assert t.shape == () and y.ndim == 2
        return (0.2 + t) * y

    def g(self, t, y):
        self.g_calls += 1
        if self.noise_type == "diagonal":
            return 0.4 * y
        if self.noise_type == "scalar":
            return 0.4 * y.unsqueeze(-1)
        if self.noise_type == "additive":
            return (1 + t) * self.B.expand(len(y), 2, 3)
        return self.B * y.unsqueeze(-1)


class Path(torchsde.BaseBrownian):
    """Our Brownian path as torchsde asks for it."""

    def __init__(self, increments, steps):
        super().__init__()
        self.increments, self.steps = increments, steps

    def __call__(self, ta, tb, return_U=False, return_A=False):
        return self.increments[round(float(ta) * self.steps)]

    shape = property(lambda self: self.increments.shape[1:])
    dtype = property(lambda self: self.increments.dtype)
    device = property(lambda self: self.increments.device)
    levy_area_approximation = "none"

    def __repr__(self):
        return "Path"


@pytest.mark.parametrize("noise", ["additive", "diagonal", "scalar", "general"])
@pytest.mark.parametrize(
    ("calculus", "method", "solver"),
    [("ito", "euler", ss.EulerMaruyama()), ("stratonovich", "midpoint", ss.Midpoint())],
)
def test_foreign_objects_follow_torchsde_along_the_same_path(noise, calculus, method, solver):
    """The same increments give the same states, to rounding."""
    steps = 8
    theirs, ours = Foreign(noise, calculus), Foreign(noise, calculus)
    x = start(5, 2)
    equation = as_equation(ours, x, 0.0)
    assert ours.f_calls == 0
    assert ours.g_calls == (1 if noise in ("additive", "general") else 0)
    motions = {"diagonal": 2, "scalar": 1}.get(noise, 3)
    source = ss.noise.Streams(4, 0, 5, equation.noise_shape((2,)), dtype=torch.float64)
    increments = torch.stack(
        [source.normal().reshape(5, motions) / math.sqrt(steps) for _ in range(steps)]
    )
    with torch.random.fork_rng():
        ts = torch.tensor([0.0, 1.0], dtype=torch.float64)
        bm = Path(increments, steps)
        expected = torchsde.sdeint(theirs, x, ts, bm=bm, method=method, dt=1 / steps)[-1]
    sol = ss.solve(equation, x, (0.0, 1.0), solver=solver, steps=steps, seed=4)
    torch.testing.assert_close(sol.x, expected)
    assert sol.calls == ours.f_calls == solver.evaluations * steps


def test_foreign_objects_run_in_reverse_and_on_images():
    sde = from_torchsde(Foreign("diagonal", "ito"))
    sol = ss.solve(sde, start(4000, 2, 3), (1.0, 0.0), solver=ss.EulerMaruyama(), steps=50)
    assert sol.x.shape == (4000, 2, 3)
    assert sol.x.mean().item() == pytest.approx(math.exp(-0.7), rel=0.02)


def test_foreign_channels_come_from_the_argument_the_object_or_one_call():
    x = start(2, 2)
    told = Foreign("general", "ito")
    assert from_torchsde(told, channels=3).channels == 3
    told.brownian_size = 3
    assert from_torchsde(told).channels == 3
    assert told.g_calls == 0
    untold = Foreign("additive", "ito")
    equation = from_torchsde(untold, x=x)
    assert (equation.channels, equation.noise, untold.g_calls) == (3, "additive", 1)
    with pytest.raises(ValueError, match="channels=m"):
        from_torchsde(Foreign("general", "ito"))


def test_foreign_errors():
    x = start(2, 2)
    sde = from_torchsde(Foreign("diagonal", "ito"))
    assert as_equation(sde, x, 0.0) is sde
    with pytest.raises(ValueError, match="one time for the whole batch"):
        sde.term(x, torch.tensor([0.1, 0.2], dtype=torch.float64))
    with pytest.raises(TypeError, match="written for torchsde"):
        as_equation(3, x, 0.0)
    with pytest.raises(ValueError, match="noise_type is one of"):
        from_torchsde(Foreign("commutative", "ito"))

    class Half:
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, y):
            return y

    with pytest.raises(TypeError, match="g is missing"):
        from_torchsde(Half())


def test_versions_are_those_described():
    """What is said of the two libraries was read in these versions."""
    assert torchsde.__version__ >= "0.2.6"
    assert torchdiffeq.__version__ >= "0.2.4"
