"""Score networks that plug into sdesolve: train, load, sample, evaluate.

``scorezoo.load("fashion-mnist")`` returns a model with ``process``, ``score``, ``shape`` and
``to_pixels``; the command line is ``scorezoo --help``.

Names are imported when they are first used, so that the command can say what is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classifier import NoisyClassifier, load_classifier
    from .model import ScoreModel, load, pretrained_names

__all__ = ["NoisyClassifier", "ScoreModel", "load", "load_classifier", "pretrained_names"]

_HOME = {
    "NoisyClassifier": ".classifier",
    "ScoreModel": ".model",
    "load": ".model",
    "load_classifier": ".classifier",
    "pretrained_names": ".model",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)
