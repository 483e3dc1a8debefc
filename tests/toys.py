"""A score network that trains in a second, for laws that hold for networks too."""

import torch

import sdesolve as ss


def train_score(process, data, *, steps=400, width=32, seed=0):
    """Train a small noise predictor on ``data``, ``(n, d)``, by denoising; a float64 score."""
    generator = torch.Generator().manual_seed(seed)
    d = data.shape[1]

    def layer(rows, columns):
        w = torch.randn(rows, columns, generator=generator, dtype=torch.float64) / rows**0.5
        return w.requires_grad_(), torch.zeros(columns, dtype=torch.float64, requires_grad=True)

    layers = [layer(d + 2, width), layer(width, width), layer(width, d)]

    def net(x, t):
        level = process.log_snr(t)[:, None]
        h = torch.cat([x, level / 4, torch.tanh(level)], dim=1)
        for w, b in layers[:-1]:
            h = torch.tanh(h @ w + b)
        w, b = layers[-1]
        # The noise of standard normal data is sigma x: far from the data that is what is left.
        return process.sigma(t)[:, None] * x + h @ w + b

    optimiser = torch.optim.Adam([p for pair in layers for p in pair], 5e-3)
    for _ in range(steps):
        rows = torch.randint(len(data), (256,), generator=generator)
        u = torch.rand(256, generator=generator, dtype=torch.float64)
        t = process.eps + (process.T - process.eps) * u**2
        z = torch.randn(256, d, generator=generator, dtype=torch.float64)
        loss = (net(process.perturb(data[rows], t, z), t) - z).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for pair in layers:
        for p in pair:
            p.requires_grad_(False)
    return ss.scores.from_noise(net, process)
