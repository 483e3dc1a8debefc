"""Image to image by noising and denoising, and editing by inversion, by class."""

import torch

import sdesolve as ss

process = ss.VPSDE()
MEANS = torch.stack([torch.full((1, 8, 8), -0.5), torch.linspace(-1, 1, 8).expand(1, 8, 8)])


def score(x: torch.Tensor, t: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Of images around the mean of their class with deviation 0.2; yours is a network's."""
    alpha, sigma = (f(t)[:, None, None, None] for f in (process.alpha, process.sigma))
    return (alpha * MEANS[label] - x) / ((0.2 * alpha) ** 2 + sigma**2)


def nearer(x: torch.Tensor) -> list[int]:
    """The class whose mean is nearer."""
    return torch.cdist(x.flatten(1), MEANS.flatten(1)).argmin(1).tolist()


image = MEANS[[0, 0]] + 0.2 * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
old, new = {"label": torch.tensor([0, 0])}, {"label": torch.tensor([1, 1])}

for strength in (0.2, 0.9):
    made = ss.sample(
        process, score, image.shape, start=image, strength=strength, nfe=20, cond=new
    ).x
    print(f"strength {strength}: class {nearer(made)}, moved by {(made - image).std():.2f}")

latent = ss.encode(process, score, image, cond=old)
back = ss.decode(process, score, latent.x, cond=old).x
edited = ss.decode(process, score, latent.x, cond=new).x
print(f"decoded again: off by {(back - image).abs().max():.1e}; edited: class {nearer(edited)}")
kept = torch.corrcoef(torch.stack([(edited - MEANS[1]).flatten(), (image - MEANS[0]).flatten()]))
print(f"what the class does not say is kept: correlation {kept[0, 1]:.3f}")
