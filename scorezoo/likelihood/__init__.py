"""Bits per dimension of many images: the computation, apart from the command that prints it.

Read ``evaluation.py`` first (what is computed), then ``chunks.py`` (how a killed run continues).
"""

from .evaluation import Evaluation, bin_scale, evaluate_likelihood

__all__ = ["Evaluation", "bin_scale", "evaluate_likelihood"]
