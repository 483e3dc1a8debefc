"""Score networks that plug into sdesolve: train, load, sample, evaluate.

``scorezoo.load("fashion-mnist")`` returns a model with ``process``, ``score``, ``shape`` and
``to_pixels``; the command line is ``scorezoo --help``.
"""

from .classifier import NoisyClassifier, load_classifier
from .model import ScoreModel, load, pretrained_names

__all__ = ["NoisyClassifier", "ScoreModel", "load", "load_classifier", "pretrained_names"]
