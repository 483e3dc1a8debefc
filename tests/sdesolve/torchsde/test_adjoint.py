"""Gradients of sdeint_adjoint: those of the discrete solution, of whatever shape the call has."""

import pytest
import torch
from torch import Tensor, nn

from sdesolve.torchsde import BrownianInterval, SDEIto, SDEStratonovich, sdeint, sdeint_adjoint

F64 = torch.float64


def net(sde_type: str) -> nn.Module:
    base = SDEIto if sde_type == "ito" else SDEStratonovich

    class Net(base):  # type: ignore[valid-type, misc]
        def __init__(self) -> None:
            super().__init__("diagonal")
            self.drift = nn.Linear(3, 3)
            self.size = nn.Parameter(torch.tensor(0.3))
            self.fixed = nn.Parameter(torch.tensor(2.0), requires_grad=False)
            self.unused = nn.Parameter(torch.zeros(2))

        def f(self, t: Tensor, y: Tensor) -> Tensor:
            return torch.tanh(self.drift(y)) * torch.cos(t) * self.fixed

        def g(self, t: Tensor, y: Tensor) -> Tensor:
            return self.size * torch.sin(y)

        def h(self, t: Tensor, y: Tensor) -> Tensor:
            return -y

    torch.manual_seed(0)
    return Net().double()


@pytest.mark.parametrize("logqp", [False, True])
@pytest.mark.parametrize(
    ("sde_type", "method"),
    [
        ("ito", "euler"),
        ("ito", "milstein"),
        ("ito", "srk"),
        ("stratonovich", "midpoint"),
        ("stratonovich", "log_ode"),
        ("stratonovich", "reversible_heun"),
    ],
)
def test_gradients_are_those_of_the_recorded_steps(sde_type: str, method: str, logqp: bool) -> None:
    sde = net(sde_type)
    y0 = torch.full((4, 3), 0.4, dtype=F64, requires_grad=True)
    ts = torch.tensor([0.0, 0.13, 0.5, 1.0], dtype=F64)
    size = (4, 4 if logqp else 3)
    bm = BrownianInterval(0.0, 1.0, size, F64, entropy=5, levy_area_approximation="foster")
    params = [p for p in sde.parameters() if p.requires_grad]
    found = []
    for run in (sdeint, sdeint_adjoint):
        out = run(sde, y0, ts, bm=bm, method=method, dt=0.02, logqp=logqp)
        parts = out if logqp else (out,)
        # Every wanted time has a share of the loss, and of another size.
        loss = sum((part[k] ** 2).sum() * (k + 1) for part in parts for k in range(len(part)))
        grads = torch.autograd.grad(loss, (y0, *params), allow_unused=True)
        found.append([torch.zeros(2, dtype=F64) if g is None else g for g in grads])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["midpoint", "reversible_heun"])
def test_the_way_back_leaves_the_result_alone(method: str) -> None:
    y0 = torch.full((4, 3), 0.4, dtype=F64, requires_grad=True)
    bm = BrownianInterval(0.0, 1.0, (4, 3), F64, entropy=5)
    ys = sdeint_adjoint(net("stratonovich"), y0, [0.0, 1.0], bm=bm, method=method, dt=0.1)
    before = ys.detach().clone()
    ys.square().sum().backward()
    assert torch.equal(ys, before)
    assert torch.equal(y0, torch.full_like(y0, 0.4))


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_parameter_that_takes_no_part_has_no_gradient_and_does_no_harm(adaptive: bool) -> None:
    class Still(SDEIto):
        def __init__(self) -> None:
            super().__init__("diagonal")
            self.unused = nn.Parameter(torch.ones(2))

        def f(self, t: Tensor, y: Tensor) -> Tensor:
            return torch.zeros_like(y)

        def g(self, t: Tensor, y: Tensor) -> Tensor:
            return torch.ones_like(y)

    sde = Still()
    y0 = torch.zeros(4, 3)
    ys = sdeint_adjoint(sde, y0, [0.0, 0.5], method="milstein", dt=0.1, adaptive=adaptive)
    ys.sum().backward()
    assert sde.unused.grad is None or not sde.unused.grad.any()


def test_only_the_given_parameters_get_gradients() -> None:
    sde = net("ito")
    y0 = torch.full((4, 3), 0.4, dtype=F64)
    ys = sdeint_adjoint(sde, y0, [0.0, 0.5], method="euler", dt=0.1, adjoint_params=(sde.size,))
    ys[-1].sum().backward()
    assert sde.size.grad is not None and sde.drift.weight.grad is None
    assert not sdeint_adjoint(sde, y0, [0.0, 0.5], dt=0.1, adjoint_params=()).requires_grad
