"""What stands in for torchsde: strong errors, exact gradients, the KL, shapes, refusals."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdesolve.torchsde import (
    BrownianInterval,
    BrownianPath,
    BrownianTree,
    ReverseBrownian,
    SDEIto,
    SDEStratonovich,
    sdeint,
    sdeint_adjoint,
)

F64 = torch.float64
ITO = ("euler", "milstein", "srk")
STRATONOVICH = ("midpoint", "heun", "euler_heun", "milstein", "log_ode", "reversible_heun")
BOTH = [*(("ito", m) for m in ITO), *(("stratonovich", m) for m in STRATONOVICH)]


class Geometric(nn.Module):
    """Geometric Brownian motion, with a prior of no drift."""

    noise_type = "diagonal"

    def __init__(self, sde_type: str) -> None:
        super().__init__()
        self.sde_type = sde_type
        self.mu = nn.Parameter(torch.tensor(0.1, dtype=F64))
        self.sigma = nn.Parameter(torch.tensor(0.3, dtype=F64))

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return self.mu * y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return self.sigma * y

    def h(self, t: Tensor, y: Tensor) -> Tensor:
        return 0 * y

    def exact(self, w: Tensor) -> Tensor:
        shift = 0.5 * self.sigma**2 if self.sde_type == "ito" else 0.0
        return torch.exp(self.mu - shift + self.sigma * w)


def motion(shape: tuple[int, ...] = (32, 2), **more: Any) -> BrownianInterval:
    kind = {"levy_area_approximation": "foster", "entropy": 5, **more}
    return BrownianInterval(0.0, 1.0, shape, F64, **kind)


@pytest.mark.parametrize(("sde_type", "method"), BOTH)
def test_pathwise_solution_and_gradients_of_geometric_brownian_motion(
    sde_type: str, method: str
) -> None:
    sde, bm, y0 = Geometric(sde_type), motion(), torch.ones(32, 2, dtype=F64)
    exact = sde.exact(bm(0.0, 1.0))
    bound = {"euler": 0.03, "srk": 1e-3}.get(method, 5e-3)
    ys = sdeint(sde, y0, [0.0, 0.5, 1.0], bm=bm, method=method, dt=1 / 16)
    assert ys.shape == (3, 32, 2)
    assert (ys[-1] - exact).square().mean().sqrt() < bound
    params = tuple(sde.parameters())
    plain = torch.autograd.grad(ys.sum(), params)
    ys = sdeint_adjoint(sde, y0, [0.0, 0.5, 1.0], bm=bm, method=method, dt=1 / 16)
    again = torch.autograd.grad(ys.sum(), params, retain_graph=False)
    for one, two in zip(plain, again, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)
    fine = sdeint_adjoint(sde, y0, [0.0, 1.0], bm=bm, method=method, dt=1 / 16)[-1]
    true = torch.autograd.grad(exact.mean(), params)
    for one, two in zip(torch.autograd.grad(fine.mean(), params), true, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=10 * bound)


def test_the_kl_of_geometric_brownian_motion_is_its_closed_form() -> None:
    sde, y0 = Geometric("ito"), torch.ones(8, 3, dtype=F64)
    _, kl = sdeint(sde, y0, [0.0, 0.25, 1.0], method="srk", dt=0.25, logqp=True)
    rate = 3 * 0.5 * (0.1 / 0.3) ** 2
    torch.testing.assert_close(
        kl.detach(), torch.tensor([[0.25], [0.75]], dtype=F64).expand(2, 8) * rate
    )


def test_the_kl_of_an_ornstein_uhlenbeck_process_is_unbiased() -> None:
    """dx = -x dt + s dw against pure noise: KL = E int x^2 / (2 s^2), closed."""

    class Posterior(SDEIto):
        def f(self, t: Tensor, y: Tensor) -> Tensor:
            return -y

        def g(self, t: Tensor, y: Tensor) -> Tensor:
            return torch.full_like(y, 0.5)

        def h(self, t: Tensor, y: Tensor) -> Tensor:
            return 0 * y

    n = 4000
    bm = BrownianInterval(0.0, 1.0, (n, 2), F64, entropy=1, levy_area_approximation="space-time")
    _, kl = sdeint(
        Posterior("diagonal"),
        torch.ones(n, 1, dtype=F64),
        [0.0, 1.0],
        bm,
        "srk",
        1 / 16,
        logqp=True,
    )
    decay = (1 - math.exp(-2)) / 2
    second = decay + 0.125 * (1 - decay)
    expected = second / (2 * 0.25)
    assert abs(kl.mean().item() - expected) < 4 * kl.std().item() / math.sqrt(n)


@pytest.mark.parametrize("noise", ["additive", "general", "scalar"])
@pytest.mark.parametrize(("sde_type", "method"), BOTH)
def test_other_noise_types(sde_type: str, method: str, noise: str) -> None:
    if noise == "general" and method in ("milstein", "srk"):
        pytest.skip("refused")
    channels = 1 if noise == "scalar" else 2
    column = torch.tensor([[0.3, 0.1], [0.2, -0.4]], dtype=F64)[:, :channels]
    sde = (SDEIto if sde_type == "ito" else SDEStratonovich)(noise)
    sde.f = lambda t, y: -y
    sde.g = lambda t, y: (
        (1.0 if noise == "additive" else torch.cos(y)[..., None])
        * column.expand(len(y), 2, channels)
    )
    bm, y0 = motion((16, channels)), torch.zeros(16, 2, dtype=F64)
    ends = [sdeint(sde, y0, [0.0, 1.0], bm=bm, method=method, dt=1 / n)[-1] for n in (8, 32)]
    assert torch.isfinite(ends[1]).all()
    assert (ends[0] - ends[1]).square().mean().sqrt() < 0.15


def test_reversible_heun_runs_back_to_its_start() -> None:
    sde = Geometric("stratonovich")
    back = Geometric("stratonovich")
    back.f = lambda t, y: -sde.f(-t, y)  # type: ignore[method-assign]
    back.g = lambda t, y: -sde.g(-t, y)  # type: ignore[method-assign]
    bm, y0 = motion(), torch.ones(32, 2, dtype=F64)
    with torch.no_grad():
        ys, (f, g, z) = sdeint(
            sde, y0, [0.0, 1.0], bm=bm, method="reversible_heun", dt=0.125, extra=True
        )
        again = sdeint(
            back,
            ys[-1],
            [-1.0, 0.0],
            bm=ReverseBrownian(bm),
            method="reversible_heun",
            dt=0.125,
            extra_solver_state=(-f, -g, z),
        )
    torch.testing.assert_close(again[-1], y0, rtol=1e-10, atol=1e-10)


def test_adaptive_steps_are_nearer_for_tighter_tolerances() -> None:
    sde, bm, y0 = Geometric("stratonovich"), motion(), torch.ones(32, 2, dtype=F64)
    exact = sde.exact(bm(0.0, 1.0))
    errors = []
    with torch.no_grad():
        for tol in (3e-2, 1e-4):
            ys = sdeint(
                sde, y0, [0.0, 1.0], bm=bm, method="heun", dt=0.5, adaptive=True, rtol=tol, atol=tol
            )
            errors.append((ys[-1] - exact).abs().max().item())
    assert errors[1] < 0.3 * errors[0]


def test_a_motion_does_not_depend_on_what_was_asked_and_adds_up() -> None:
    asked = [(0.1, 0.2), (0.15, 0.9), (0.0, 1.0), (0.2, 0.3), (0.1, 0.3)]
    one, two = motion((6, 2)), motion((6, 2), levy_area_approximation="none")
    first = [one(*ends) for ends in asked]
    second = [two(*ends) for ends in asked[::-1]][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.testing.assert_close(first[0] + first[3], first[4])
    (w1, u1), (_, u2), (_, u) = (
        one(*ends, return_U=True) for ends in ((0.1, 0.2), (0.2, 0.3), (0.1, 0.3))
    )
    torch.testing.assert_close(u1 + u2 + 0.1 * w1, u)
    assert torch.equal(one(0.3, 0.3), torch.zeros(6, 2, dtype=F64))
    area = one(0.2, 0.7, return_A=True)[1]
    torch.testing.assert_close(area, -area.transpose(-1, -2))


def test_the_laws_of_w_u_and_a() -> None:
    n, h = 20000, 0.4
    for kind in ("davie", "foster"):
        bm = BrownianInterval(0.0, 1.0, (n, 2), F64, entropy=3, levy_area_approximation=kind)
        w, u, a = bm(0.3, 0.7, return_U=True, return_A=True)
        wanted = {"W": (w, h), "U": (u, h**3 / 3), "A": (a[:, 0, 1], h**2 / 4)}
        for name, (values, variance) in wanted.items():
            mean = values.square().mean().item() / variance
            spread = values.square().std().item() / variance
            assert abs(mean - 1) < 4.5 * spread / math.sqrt(values.numel()), (kind, name)


def test_paths_and_trees_start_where_they_are_told() -> None:
    w0 = torch.full((4, 1), 2.0, dtype=F64)
    for bm in (BrownianPath(0.0, w0), BrownianTree(0.0, w0, entropy=1)):
        assert torch.equal(bm(0.0), w0)
        torch.testing.assert_close(bm(0.5) - w0, bm(0.0, 0.5))
    end = BrownianTree(0.0, w0, 1.0, w0 + 1, entropy=1)
    torch.testing.assert_close(end(1.0), w0 + 1)


def test_what_is_refused_is_refused_by_a_sentence() -> None:
    sde, y0 = Geometric("ito"), torch.ones(4, 2, dtype=F64)
    ts = [0.0, 1.0]
    for error, match, call in (
        (ValueError, "method is one of", lambda: sdeint(sde, y0, ts, method="rk4")),
        (ValueError, "does not solve ito", lambda: sdeint(sde, y0, ts, method="heun")),
        (ValueError, "flatten", lambda: sdeint(sde, y0[0], ts)),
        (ValueError, "strictly increasing", lambda: sdeint(sde, y0, [1.0, 0.0])),
        (ValueError, "batch of y0", lambda: sdeint(sde, y0, ts, bm=motion((3, 2)))),
        (ValueError, "channels", lambda: sdeint(sde, y0, ts, bm=motion((4, 3)))),
        (
            ValueError,
            "space-time",
            lambda: sdeint(
                sde, y0, ts, bm=motion((4, 2), levy_area_approximation="none"), method="srk"
            ),
        ),
        (ValueError, "asked at", lambda: sdeint(sde, y0, [0.0, 2.0], bm=motion((4, 2)))),
        (ValueError, "noise_type", lambda: SDEIto("white")),
        (ValueError, "adjoint_params", lambda: sdeint_adjoint(object(), y0, ts)),
        (AttributeError, "lacks h", lambda: sdeint(Decay(), y0, ts, logqp=True)),
    ):
        with pytest.raises(error, match=match):
            call()
    with pytest.warns(UserWarning, match="unknown keywords"):
        sdeint(sde, y0, ts, dt=0.5, step=1)


class Decay:
    noise_type, sde_type = "diagonal", "ito"

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return -y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.1 * y
