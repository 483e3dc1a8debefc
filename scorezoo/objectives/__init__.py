"""Training objectives for score networks, one file for each family, and their names in recipes.

An objective chooses the times of a batch and gives the loss of each sample:

    t = objective.times(uniform, process)
    loss = objective.loss(score, process, x0, t, noise, **cond)

with ``uniform`` and ``t`` ``(batch,)``, ``x0`` and ``noise`` ``(batch, *event)``.

=============  =============================================  ====================================
name           objective                                      source
=============  =============================================  ====================================
denoising      weight sigma^2, uniform times                  Song et al. 2021, equation 7
edm            EDM's weight, log-normal noise levels          Karras et al. 2022, table 1
likelihood     weight g^2, importance-sampled times           Song, Durkan, Murray & Ermon 2021
ncsn           N geometric noise levels                       Song & Ermon 2019, equation 6
ddpm           DDPM's noise prediction on its N levels        Ho et al. 2020, equation 14
single-level   one noise level                                Vincent 2011
implicit       exact trace of the Jacobian                    Hyvarinen 2005
sliced         one slice of the Jacobian                      Song et al. 2019
=============  =============================================  ====================================

Explicit score matching (:class:`ExplicitObjective`) takes a known score and has no name.
"""

from collections.abc import Callable
from typing import Any

import sdesolve as ss

from .base import Objective
from .denoising import (
    DenoisingObjective,
    DiscreteObjective,
    EDMObjective,
    SingleLevelObjective,
    denoising_score_matching,
)
from .likelihood import LikelihoodObjective
from .matching import (
    ExplicitObjective,
    ImplicitObjective,
    SlicedObjective,
    explicit_score_matching,
    implicit_score_matching,
    sliced_score_matching,
)
from .times import importance_times, log_normal_times, stratify, uniform_times

__all__ = [
    "OBJECTIVES",
    "DenoisingObjective",
    "DiscreteObjective",
    "EDMObjective",
    "ExplicitObjective",
    "ImplicitObjective",
    "LikelihoodObjective",
    "Objective",
    "SingleLevelObjective",
    "SlicedObjective",
    "denoising_score_matching",
    "explicit_score_matching",
    "implicit_score_matching",
    "importance_times",
    "log_normal_times",
    "sliced_score_matching",
    "stratify",
    "uniform_times",
]


def _ncsn(**arguments: Any) -> DiscreteObjective:  # noqa: ANN401
    return DiscreteObjective(ss.SMLD(**arguments))


def _ddpm(**arguments: Any) -> DiscreteObjective:  # noqa: ANN401
    return DiscreteObjective(ss.DDPM(**arguments))


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "denoising": DenoisingObjective,
    "edm": EDMObjective,
    "likelihood": LikelihoodObjective,
    "ncsn": _ncsn,
    "ddpm": _ddpm,
    "single-level": SingleLevelObjective,
    "implicit": ImplicitObjective,
    "sliced": SlicedObjective,
}
