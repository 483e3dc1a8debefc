"""A latent SDE fitted to noisy paths of an Ornstein-Uhlenbeck process, by the evidence bound."""

import torch
from torch import Tensor, nn

from sdesolve.torchsde import SDEIto, sdeint

torch.manual_seed(0)
RATE, MEAN, SIGMA, NOISE = 1.5, 0.8, 0.5, 0.2
times, start = torch.linspace(0, 2, 11), torch.zeros(512, 1)

truth = SDEIto("diagonal")
truth.f = lambda t, y: RATE * (MEAN - y)
truth.g = lambda t, y: torch.full_like(y, SIGMA)
clean = sdeint(truth, start, times, method="euler", dt=0.02)[..., 0]
data = clean + NOISE * torch.randn(clean.shape)

rate, mean = torch.tensor(0.5, requires_grad=True), torch.tensor(0.0, requires_grad=True)
net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))


def posterior(t: Tensor, y: Tensor) -> Tensor:
    """The drift that explains the data: it looks at the next two observations."""
    i = min(int(t / 0.2 + 1e-4) + 1, 10)
    ahead = torch.stack([data[i], data[min(i + 1, 10)]], 1) - y
    return 5 * net(torch.cat([y, ahead, (times[i] - t).expand_as(y)], 1))


latent = SDEIto("diagonal")
latent.f, latent.g, latent.h = posterior, truth.g, lambda t, y: rate * (mean - y)  # h: the prior
optimiser = torch.optim.Adam([rate, mean, *net.parameters()], lr=0.02)
for _ in range(200):
    path, kl = sdeint(latent, start, times, method="euler", dt=0.04, logqp=True)
    loss = (((path[..., 0] - data) / NOISE).square().sum(0) / 2 + kl.sum(0)).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
print(f"rate {rate.item():.2f} for {RATE}, mean {mean.item():.2f} for {MEAN}")
