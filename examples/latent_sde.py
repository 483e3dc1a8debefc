"""A latent SDE fitted to noisy paths of an Ornstein-Uhlenbeck process, by the evidence bound."""

import torch
from torch import nn

from sdesolve.torchsde import SDEIto, sdeint

RATE, MEAN, SIGMA, NOISE = 1.5, 0.8, 0.5, 0.1
torch.manual_seed(0)
times, start = torch.linspace(0, 4, 21), torch.zeros(512, 1)


class Latent(SDEIto):
    def __init__(self, rate, mean):
        super().__init__("diagonal")
        self.rate, self.mean = (nn.Parameter(torch.tensor(v)) for v in (rate, mean))
        self.net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))

    def h(self, t, y):  # the prior
        return self.rate * (self.mean - y)

    def f(self, t, y):  # the posterior, which looks at the next two observations
        i = min(int(t / 0.2 + 1e-4) + 1, 20)
        ahead = torch.stack([data[i], data[min(i + 1, 20)]], 1) - y
        return 5 * self.net(torch.cat([y, ahead, (times[i] - t).expand_as(y)], 1))

    def g(self, t, y):
        return torch.full_like(y, SIGMA)


truth, model = Latent(RATE, MEAN), Latent(0.5, 0.0)
with torch.no_grad():  # the prior of the truth is what made the data
    clean = sdeint(truth, start, times, method="euler", dt=0.02, names={"drift": "h"})[..., 0]
data = clean + NOISE * torch.randn(clean.shape)
optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
for step in range(250):
    path, kl = sdeint(model, start, times, method="euler", dt=0.1, logqp=True)
    loss = (((path[..., 0] - data) / NOISE).square().sum(0) / 2 + kl.sum(0)).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
print(f"rate {model.rate.item():.2f} for {RATE}, mean {model.mean.item():.2f} for {MEAN}")
