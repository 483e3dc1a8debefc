"""Score networks that plug into sdesolve: train, load, sample, evaluate.

``scorezoo.load("fashion-mnist")`` returns a model with ``process``, ``score``, ``shape`` and
``to_pixels``; the command line is ``scorezoo --help``. What is named here is imported when it is
used, so that ``scorezoo --help`` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .classifier import NoisyClassifier, load_classifier
    from .folders import pretrained_names
    from .model import ScoreModel, load

__all__ = ["NoisyClassifier", "ScoreModel", "load", "load_classifier", "pretrained_names"]

_HOME = {
    "NoisyClassifier": "classifier",
    "ScoreModel": "model",
    "load": "model",
    "load_classifier": "classifier",
    "pretrained_names": "folders",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
