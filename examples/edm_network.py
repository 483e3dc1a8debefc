"""A network of EDM: net(x, sigma, class_labels), preconditioned, with the levels it knows."""

import torch

import sdesolve as ss


class Net(torch.nn.Module):
    """The exact denoiser of two classes, N(-1, 0.01) and N(1, 0.01); yours is a pickle of EDM's."""

    sigma_min, sigma_max = 0.002, 80.0

    def forward(
        self, x: torch.Tensor, sigma: torch.Tensor, class_labels: torch.Tensor
    ) -> torch.Tensor:
        """D(x, sigma) of one-hot labels, (batch, 2)."""
        mean, s2 = class_labels[:, 1:] - class_labels[:, :1], sigma[:, None] ** 2
        return (0.01 * x + s2 * mean) / (0.01 + s2)


process, score = ss.interop.edm.load(Net())
labels = torch.eye(2).repeat_interleave(500, 0)
sol = ss.sample(
    process, score, (1000, 1), solver=ss.EDMHeun(), steps=18, cond={"class_labels": labels}
)
print(sol)
for k in (0, 1):
    x = sol.x[labels[:, k] == 1]
    print(f"class {k}: mean {x.mean():.3f}, deviation {x.std():.3f}")
