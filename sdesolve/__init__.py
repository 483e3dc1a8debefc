"""Numerics-first SDE and ODE solvers for score-based generative models.

>>> import torch, sdesolve as ss
>>> process = ss.VPSDE()
>>> score = ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.01).score(process)
>>> sol = ss.sample(process, score, (1000, 1), solver=ss.EulerMaruyama(), steps=100, seed=0)
>>> bool((sol.x.abs() - 1).abs().mean() < 0.15)
True
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from . import grids, interop, inverse, latent, metrics, scores
from .closed_forms.empirical import EmpiricalScore
from .closed_forms.gaussian import Gaussian
from .closed_forms.mixture import GaussianMixture
from .correctors import HMC, MALA, Corrector, Inpainting, Langevin, UnderdampedLangevin
from .describe import describe
from .equations.consistency import check_process
from .equations.discrete import DDPM, SMLD
from .equations.discrete_process import DiscreteProcess
from .equations.flow import RectifiedFlow
from .equations.interpolant import Interpolant
from .equations.kinetic import KineticLangevin
from .equations.problem import Problem, Step
from .equations.process import Process, ReverseSDE
from .equations.processes import EDM, VESDE, VPSDE, ExponentialVESDE, SubVPSDE
from .equations.sde import SDE
from .grids import Cosine, Density, Grid, Karras, LogSNR, Quadratic, Sech, Theta, Uniform
from .latent import decode, encode, interpolate, temperature
from .likelihood import dequantise
from .likelihood.divergence import Exact, Hutchinson, HutchPlusPlus
from .likelihood.estimate import log_likelihood
from .likelihood.evidence import LogLikelihood
from .likelihood.path import DensityPath, log_density_path
from .likelihood.variational import variational_bound
from .loop.chains import Chain, chain
from .loop.integrate import solve
from .loop.stepper import Stepper, stepper
from .noise.brownian import BrownianPath
from .noise.streams import NoiseSource
from .outcome import (
    NotFiniteWarning,
    Outcome,
    Solution,
    Status,
    UnfinishedError,
    UnfinishedWarning,
)
from .references.base import Isotropic, Reference
from .references.measured import MeasuredReference
from .references.principal import GaussianReference
from .references.spectral import SpectralReference
from .sampling import sample
from .scores import conditional
from .solvers import (
    ALIGN,
    DRI1,
    ERSDE,
    IPNDM,
    QUICSORT,
    RK4,
    RK38,
    SEA,
    SRA1,
    SRA2,
    SRA3,
    SRIW1,
    Adams,
    Adaptive,
    AdaptiveExponential,
    AdaptiveODE,
    AdaptiveSDE,
    Ancestral,
    Annealed,
    DPMSolverMultistep,
    Drift,
    EDMHeun,
    EulerHeun,
    EulerMaruyama,
    EulerODE,
    ExponentialAdams,
    ExponentialRungeKutta,
    GottaGoFast,
    Heun,
    Heun3,
    ImplicitRK,
    LogODE,
    Midpoint,
    Milstein,
    PredictorCorrector,
    Restart,
    ReverseDiffusion,
    ReversibleHeun,
    ShARK,
    ShOULD,
    SlowRK,
    Solver,
    UniPC,
    register,
    solver,
    solver_names,
)
from .tuning.budget import tune
from .tuning.from_score import reference_from_score
from .tuning.search import Tuner
from .tuning.tuned import Tuned

if TYPE_CHECKING:
    from .interop import Torchdiffeq, Torchsde

__all__ = [
    "ALIGN",
    "DDPM",
    "DRI1",
    "EDM",
    "ERSDE",
    "HMC",
    "IPNDM",
    "MALA",
    "QUICSORT",
    "RK4",
    "RK38",
    "SDE",
    "SEA",
    "SMLD",
    "SRA1",
    "SRA2",
    "SRA3",
    "SRIW1",
    "VESDE",
    "VPSDE",
    "Adams",
    "Adaptive",
    "AdaptiveExponential",
    "AdaptiveODE",
    "AdaptiveSDE",
    "Ancestral",
    "Annealed",
    "BrownianPath",
    "Chain",
    "Corrector",
    "Cosine",
    "DPMSolverMultistep",
    "Density",
    "DensityPath",
    "DiscreteProcess",
    "Drift",
    "EDMHeun",
    "EmpiricalScore",
    "EulerHeun",
    "EulerMaruyama",
    "EulerODE",
    "Exact",
    "ExponentialAdams",
    "ExponentialRungeKutta",
    "ExponentialVESDE",
    "Gaussian",
    "GaussianMixture",
    "GaussianReference",
    "GottaGoFast",
    "Grid",
    "Heun",
    "Heun3",
    "HutchPlusPlus",
    "Hutchinson",
    "ImplicitRK",
    "Inpainting",
    "Interpolant",
    "Isotropic",
    "Karras",
    "KineticLangevin",
    "Langevin",
    "LogLikelihood",
    "LogODE",
    "LogSNR",
    "MeasuredReference",
    "Midpoint",
    "Milstein",
    "NoiseSource",
    "NotFiniteWarning",
    "Outcome",
    "PredictorCorrector",
    "Problem",
    "Process",
    "Quadratic",
    "RectifiedFlow",
    "Reference",
    "Restart",
    "ReverseDiffusion",
    "ReverseSDE",
    "ReversibleHeun",
    "Sech",
    "ShARK",
    "ShOULD",
    "SlowRK",
    "Solution",
    "Solver",
    "SpectralReference",
    "Status",
    "Step",
    "Stepper",
    "SubVPSDE",
    "Theta",
    "Torchdiffeq",
    "Torchsde",
    "Tuned",
    "Tuner",
    "UnderdampedLangevin",
    "UnfinishedError",
    "UnfinishedWarning",
    "UniPC",
    "Uniform",
    "chain",
    "check_process",
    "conditional",
    "decode",
    "dequantise",
    "describe",
    "encode",
    "grids",
    "interop",
    "interpolate",
    "inverse",
    "latent",
    "log_density_path",
    "log_likelihood",
    "metrics",
    "reference_from_score",
    "register",
    "sample",
    "scores",
    "solve",
    "solver",
    "solver_names",
    "stepper",
    "temperature",
    "tune",
    "variational_bound",
]

try:
    __version__ = version("sdesolve")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0"


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # Their libraries are imported when they are first asked for.
    if name in ("Torchdiffeq", "Torchsde"):
        return getattr(interop, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
