"""Flow matching: train a velocity in twenty lines, then have its samples, SDE and likelihood."""

import torch

import sdesolve as ss

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.SiLU(), torch.nn.Linear(64, 64),
                          torch.nn.SiLU(), torch.nn.Linear(64, 2))  # fmt: skip
data = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.05)


def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """dx/dt, from noise at t = 0 to data at t = 1."""
    return net(torch.cat([x, t[:, None]], dim=1))


optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
known = data.sample(4096, seed=0, dtype=torch.float32)
for _ in range(500):
    x1 = known[torch.randint(4096, (256,))]
    x0, t = torch.randn_like(x1), torch.rand(256)
    loss = (velocity((1 - t[:, None]) * x0 + t[:, None] * x1, t) - (x1 - x0)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

process, score = ss.interop.flow.load(velocity, direction="noise-to-data")
x = data.sample(200, seed=1, dtype=torch.float32)
for solver in ("dpmpp-2m", "ddpm"):
    sol = ss.sample(process, score, x.shape, nfe=20, solver=solver)
    print(solver, f"distance {ss.metrics.sliced_wasserstein(sol.x, x):.3f}")
ll = ss.log_likelihood(process, score, x, divergence=ss.Exact())
print(f"log p {ll.log_prob.mean():.3f}, of the data {data.log_prob(x).mean():.3f}")
