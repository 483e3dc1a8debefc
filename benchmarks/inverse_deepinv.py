"""deepinv's own posterior samplers on our networks, as its users run them.

Its images lie in [0, 1] and ours in [-1, 1]: an observation A that keeps constants sees (y + 1) / 2
there, with half the noise. A budget is that of denoiser calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import sdesolve as ss
from benchmarks.inverse_peers import Peer
from benchmarks.peers.base import Denoiser, frozen_defaults

try:
    import deepinv
    from deepinv import sampling
except ImportError:
    PRESENT = False
else:
    PRESENT = True

__all__ = ["PRESENT", "peers"]


def peers(
    denoise: Denoiser, A: ss.inverse.LinearObservation, shape: Sequence[int], noise: float
) -> dict[str, list[Peer]]:
    """By name: the variants among which a table takes the best."""
    shape = tuple(shape)
    seen = tuple(A(torch.zeros(1, *shape)).shape[1:])

    class Network(deepinv.models.Denoiser):  # type: ignore[misc]
        def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
            level = 2 * torch.as_tensor(sigma, dtype=torch.float32).clamp(min=5e-4)
            return (denoise(2 * x - 1, level) + 1) / 2

    network = Network()
    white = deepinv.physics.GaussianNoise(noise / 2)
    physics = deepinv.physics.LinearPhysics(
        A=lambda x, **_: A(x), A_adjoint=lambda y, **_: A.adjoint(y), noise_model=white
    )

    def run(make: Callable[[int], Callable[[Tensor], Tensor]]) -> Peer:
        def draw(y: Tensor, nfe: int, seed: int) -> Tensor:
            with frozen_defaults(torch.float32, seed):
                out = make(nfe)((y.reshape(len(y), *seen) + 1) / 2)
            return (2 * out.detach().float() - 1).flatten(1)

        return draw

    def diffusion(fidelity: Callable[[], Any], kind: str) -> Peer:
        def make(nfe: int) -> Callable[[Tensor], Tensor]:
            # The last time, 0, is not evaluated.
            times = torch.linspace(1, 0, nfe + 1, dtype=torch.float64)
            solver = getattr(sampling, kind)(timesteps=times, rng=torch.Generator().manual_seed(0))
            model = sampling.PosteriorDiffusion(
                data_fidelity=fidelity(),
                denoiser=network,
                sde=sampling.VariancePreservingDiffusion(alpha=1.0, device="cpu"),
                solver=solver,
            )
            return lambda y: model(y, physics, x_init=(len(y), *shape))

        return run(make)

    def dps(weight: float, guidance: str) -> Peer:
        def make(nfe: int) -> Callable[[Tensor], Tensor]:
            model = sampling.DPS(
                network,
                num_steps=nfe + 1,
                weight=weight,
                guidance=guidance,
                rng=torch.Generator().manual_seed(0),
            )
            return lambda y: model(y, physics, x_init=(len(y), *shape))

        return run(make)

    def diffpir(zeta: float) -> Peer:
        def make(nfe: int) -> Callable[[Tensor], Tensor]:
            fidelity = deepinv.optim.data_fidelity.L2()
            model = sampling.DiffPIR(network, fidelity, sigma=noise / 2, max_iter=nfe, zeta=zeta)
            return lambda y: model(y, physics)

        return run(make)

    def ddrm(nfe: int) -> Callable[[Tensor], Tensor]:
        levels = torch.linspace(1, 0, nfe).tolist()
        model = sampling.DDRM(network, sigmas=levels)
        return lambda y: model(y, _decomposed(A, shape, white))

    fidelities = sampling.PiGDMDataFidelity, sampling.MomentMatchingDataFidelity
    pigdm, moments = ([diffusion(f, "DDPMSolver")] for f in fidelities)
    return {
        "deepinv MMPS, 3 iterations": moments,
        "deepinv DiffPIR": [diffpir(0.1), diffpir(1.0)],
        "deepinv PiGDM": pigdm,
        "deepinv DPS": [dps(1.0, "norm"), dps(1.0, "annealed")],
        "deepinv DDRM": [run(ddrm)],
    }


def _decomposed(A: ss.inverse.LinearObservation, shape: tuple[int, ...], white: Any) -> Any:
    """A by its singular vectors, all of them: coefficients ``(batch, d)``."""
    matrix = ss.inverse.Matrix.of(A, shape).matrix.float()
    m, d = matrix.shape
    u, s, vh = torch.linalg.svd(matrix, full_matrices=True)
    mask = torch.nn.functional.pad(s, (0, d - len(s)))[None]
    seen = tuple(A(torch.zeros(1, *shape)).shape[1:])

    def pad(y: Tensor) -> Tensor:
        return torch.nn.functional.pad(y.flatten(1) @ u, (0, d - m))

    return deepinv.physics.DecomposablePhysics(
        U=lambda z: (z[:, :m] @ u.mT).reshape(-1, *seen),
        U_adjoint=pad,
        V=lambda z: (z @ vh).reshape(-1, *shape),
        V_adjoint=lambda x: x.flatten(1) @ vh.mT,
        mask=mask,
        noise_model=white,
    )
