r"""A distance of images by what a classifier sees in them, for fitting solvers.

With the d features :math:`f` of the extractor that ships for a shape (:mod:`.judging.quality`),

.. math:: \ell(x, y) = \Big( \tfrac1d\,\mathbb{E}\,|f(x) - f(y)|^2 \Big)^{1/2}.

Images are clamped to the data's range, as those that are judged are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .judging.quality import Classifier, shipped_reference
from .model import ScoreModel

__all__ = ["FeatureLoss", "feature_loss"]


@dataclass(frozen=True)
class FeatureLoss:
    """Distance of features; pass it as ``loss=`` to :class:`sdesolve.Tuner`.

    Args:
        name: Of the extractor.
        extractor: It.
        data_range: The values that pixel 0 and pixel 255 have in the data.
    """

    name: str
    extractor: Classifier
    data_range: tuple[float, float]

    def __call__(self, x: Tensor, exact: Tensor) -> Tensor:
        """Distance of images ``(batch, channels, height, width)``, a number."""
        low, high = self.data_range
        seen = (
            self.extractor((v.clamp(low, high) - low) * (255 / (high - low))) for v in (x, exact)
        )
        # Where no feature differs a root has no gradient.
        return (torch.sub(*seen).square().mean() + 1e-20).sqrt()

    def __repr__(self) -> str:
        return f"FeatureLoss({self.name!r})"


def feature_loss(model: ScoreModel) -> FeatureLoss:
    """The feature distance that ships for a model's images.

    Raises:
        ValueError: If none ships for this shape.
    """
    try:
        name, reference = shipped_reference(model.shape)
    except ValueError as error:
        raise ValueError(
            f"no feature extractor ships for samples of shape {model.shape}; fit by rmse or huber"
        ) from error
    return FeatureLoss(name, reference.extractor.to(model.device), model.data_range)
