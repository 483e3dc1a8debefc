"""Numerics-first SDE and ODE solvers for score-based generative models.

>>> import torch, sdesolve as ss
>>> process = ss.VPSDE()
>>> score = ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.01).score(process)
>>> sol = ss.sample(process, score, (1000, 1), solver=ss.EulerMaruyama(), steps=100, seed=0)
>>> bool((sol.x.abs() - 1).abs().mean() < 0.15)
True
"""

from importlib.metadata import PackageNotFoundError, version

from . import grids, metrics, scores
from .brownian import BrownianPath
from .correctors import Corrector, Langevin
from .empirical import EmpiricalScore
from .gaussian import Gaussian, GaussianMixture
from .grids import Density, Karras, LogSNR, Quadratic, Sech, Theta, Uniform
from .integrate import solve
from .interop import Torchdiffeq, Torchsde
from .measured import MeasuredReference
from .process import Process
from .processes import EDM, VESDE, VPSDE, ExponentialVESDE, SubVPSDE
from .references import GaussianReference, Isotropic, Reference
from .reverse import ReverseSDE
from .sampling import sample
from .sde import SDE
from .solution import NotFiniteWarning, Solution, Status
from .solvers import (
    DRI1,
    RK4,
    SRA1,
    SRA2,
    SRA3,
    SRIW1,
    AdaptiveODE,
    AdaptiveSDE,
    Ancestral,
    EulerHeun,
    EulerMaruyama,
    EulerODE,
    ExponentialAdams,
    GottaGoFast,
    Heun,
    Midpoint,
    Milstein,
    PredictorCorrector,
    ReverseDiffusion,
    ShARK,
    Solver,
    solver,
    solver_names,
)
from .spectral import SpectralReference

__all__ = [
    "DRI1",
    "EDM",
    "RK4",
    "SDE",
    "SRA1",
    "SRA2",
    "SRA3",
    "SRIW1",
    "VESDE",
    "VPSDE",
    "AdaptiveODE",
    "AdaptiveSDE",
    "Ancestral",
    "BrownianPath",
    "Corrector",
    "Density",
    "EmpiricalScore",
    "EulerHeun",
    "EulerMaruyama",
    "EulerODE",
    "ExponentialAdams",
    "ExponentialVESDE",
    "Gaussian",
    "GaussianMixture",
    "GaussianReference",
    "GottaGoFast",
    "Heun",
    "Isotropic",
    "Karras",
    "Langevin",
    "LogSNR",
    "MeasuredReference",
    "Midpoint",
    "Milstein",
    "NotFiniteWarning",
    "PredictorCorrector",
    "Process",
    "Quadratic",
    "Reference",
    "ReverseDiffusion",
    "ReverseSDE",
    "Sech",
    "ShARK",
    "Solution",
    "Solver",
    "SpectralReference",
    "Status",
    "SubVPSDE",
    "Theta",
    "Torchdiffeq",
    "Torchsde",
    "Uniform",
    "grids",
    "metrics",
    "sample",
    "scores",
    "solve",
    "solver",
    "solver_names",
]

try:
    __version__ = version("sdesolve")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0"
