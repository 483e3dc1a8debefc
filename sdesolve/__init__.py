"""Numerics-first SDE and ODE solvers for score-based generative models.

>>> import torch, sdesolve as ss
>>> process = ss.VPSDE()
>>> score = ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.01).score(process)
>>> sol = ss.sample(process, score, (1000, 1), solver=ss.EulerMaruyama(), steps=100, seed=0)
>>> bool((sol.x.abs() - 1).abs().mean() < 0.15)
True
"""

from importlib.metadata import PackageNotFoundError, version

from . import dequantise, grids, metrics, scores
from .brownian import BrownianPath
from .correctors import Corrector, Langevin
from .density_path import DensityPath, log_density_path
from .divergence import Exact, Hutchinson, HutchPlusPlus
from .evidence import LogLikelihood
from .gaussian import Gaussian, GaussianMixture
from .grids import Karras, LogSNR, Quadratic, Theta, Uniform
from .integrate import solve
from .interop import Torchdiffeq, Torchsde
from .likelihood import log_likelihood
from .process import Process
from .processes import EDM, VESDE, VPSDE, ExponentialVESDE, SubVPSDE
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
from .variational import variational_bound

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
    "DensityPath",
    "EulerHeun",
    "EulerMaruyama",
    "EulerODE",
    "Exact",
    "ExponentialVESDE",
    "Gaussian",
    "GaussianMixture",
    "GottaGoFast",
    "Heun",
    "HutchPlusPlus",
    "Hutchinson",
    "Karras",
    "Langevin",
    "LogLikelihood",
    "LogSNR",
    "Midpoint",
    "Milstein",
    "NotFiniteWarning",
    "PredictorCorrector",
    "Process",
    "Quadratic",
    "ReverseDiffusion",
    "ReverseSDE",
    "ShARK",
    "Solution",
    "Solver",
    "Status",
    "SubVPSDE",
    "Theta",
    "Torchdiffeq",
    "Torchsde",
    "Uniform",
    "dequantise",
    "grids",
    "log_density_path",
    "log_likelihood",
    "metrics",
    "sample",
    "scores",
    "solve",
    "solver",
    "solver_names",
    "variational_bound",
]

try:
    __version__ = version("sdesolve")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0"
