"""Distances between two sets of samples, and whether posteriors cover the truth.

Every distance is zero in the limit exactly when the laws agree (the Gaussian one: when their first
two moments do). Two finite sets of the same law have a distance above zero: print it beside, as
the floor.

Read ``distances``, then ``features`` (what is asked of images) and ``manifolds`` (precision,
recall, density, coverage, copies).
"""

from .distances import (
    classifier_two_sample,
    coverage,
    energy_distance,
    gaussian_wasserstein,
    max_sliced_wasserstein,
    mmd,
    sliced_wasserstein,
)
from .features import frechet_distance, jackknife, kernel_distance
from .manifolds import Manifolds, copying, manifolds, nearest

__all__ = [
    "Manifolds",
    "classifier_two_sample",
    "copying",
    "coverage",
    "energy_distance",
    "frechet_distance",
    "gaussian_wasserstein",
    "jackknife",
    "kernel_distance",
    "manifolds",
    "max_sliced_wasserstein",
    "mmd",
    "nearest",
    "sliced_wasserstein",
]
