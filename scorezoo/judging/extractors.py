"""What turns images into features: those that ship, a file of the user's own, Inception.

============  ====================================================================================
name          features
============  ====================================================================================
general       of any size and colour, trained here without labels (:mod:`scorezoo.judging.general`)
a name        of a classifier that ships, for images of its data set's shape
a file        of ``scorezoo features``, of classes or without labels
inception     the network of the published Frechet inception distance, from torch-fidelity or, other
              weights and other figures, from torchvision; where they are installed
============  ====================================================================================
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from .general import is_general, load_general
from .quality import Reference, shipped_reference

__all__ = ["Extractor", "extractor"]


@dataclass(frozen=True)
class Extractor:
    """Features of images, and of the real ones that it was shipped with.

    Args:
        name: What it is, in words.
        function: Bytes ``(n, channels, height, width)`` to features ``(n, d)``.
        reference: Features of real images kept beside it.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    reference: Reference | None = None

    @torch.no_grad()
    def __call__(self, pixels: Tensor, batch_size: int = 250) -> Tensor:
        """Features, ``(n, d)`` float64, of bytes ``(n, channels, height, width)``."""
        return torch.cat([self.function(part).double() for part in torch.split(pixels, batch_size)])


def extractor(shape: tuple[int, ...], name: str | None = None) -> Extractor:
    """Features for images of a shape.

    Args:
        shape: ``(channels, height, width)``.
        name: See the module; by default the general features.

    Raises:
        ValueError: If there is none of that name, or it takes other images.
    """
    if name == "inception":
        return _inception()
    if name in (None, "general"):
        return _general(None)
    assert name is not None
    if name.endswith(".safetensors") and Path(name).is_file() and is_general(Path(name)):
        return _general(Path(name))
    found, reference = shipped_reference(shape, name)
    return Extractor(f"{found} classifier", reference.extractor, reference)


def _general(path: Path | None) -> Extractor:
    model, notes = load_general(path)
    known = ", ".join(
        f"{data} {trained:.0%}" for data, (trained, _) in notes.get("accuracy", {}).items()
    )
    about = f" (linear probe: {known})" if known else ""
    return Extractor(f"general{'' if path is None else f' of {path}'}{about}", model)


def _inception() -> Extractor:
    """Inception's pooled features, 2048."""
    if importlib.util.find_spec("torch_fidelity"):
        from torch_fidelity.feature_extractor_inceptionv3 import (  # type: ignore[import-not-found]
            FeatureExtractorInceptionV3,
        )

        net = FeatureExtractorInceptionV3("inception", ["2048"]).eval()
        return Extractor("Inception of torch-fidelity", lambda x: net(_colour(x))[0])
    if importlib.util.find_spec("torchvision"):
        from torchvision.models import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
            Inception_V3_Weights,
            inception_v3,
        )

        other = inception_v3(weights=Inception_V3_Weights.DEFAULT).eval()
        other.fc = torch.nn.Identity()

        def features(x: Tensor) -> Tensor:
            x = F.interpolate(_colour(x).float() / 255, (299, 299), mode="bilinear", antialias=True)
            mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[
                ..., None, None
            ]
            out: Tensor = other((x - mean) / std)
            return out

        return Extractor("Inception of torchvision, not that of published figures", features)
    raise ValueError(
        "--features inception needs its weights: pip install torch-fidelity (or torchvision)"
    )


def _colour(pixels: Tensor) -> Tensor:
    return pixels.expand(-1, 3, -1, -1)
