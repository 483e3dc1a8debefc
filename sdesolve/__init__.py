"""Numerics-first SDE and ODE solvers for score-based generative models.

>>> import torch, sdesolve as ss
>>> process = ss.VPSDE()
>>> score = ss.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.01).score(process)
>>> sol = ss.sample(process, score, (1000, 1), solver=ss.EulerMaruyama(), steps=100, seed=0)
>>> bool((sol.x.abs() - 1).abs().mean() < 0.15)
True
"""

from importlib.metadata import PackageNotFoundError, version

from . import conditional, dequantise, grids, latent, metrics, scores
from .brownian import BrownianPath
from .chains import Chain, chain
from .correctors import HMC, MALA, Corrector, Inpainting, Langevin, UnderdampedLangevin
from .density_path import DensityPath, log_density_path
from .discrete import DDPM, SMLD
from .divergence import Exact, Hutchinson, HutchPlusPlus
from .empirical import EmpiricalScore
from .evidence import LogLikelihood
from .gaussian import Gaussian, GaussianMixture
from .grids import Cosine, Density, Karras, LogSNR, Quadratic, Sech, Theta, Uniform
from .integrate import solve
from .interop import Torchdiffeq, Torchsde
from .latent import decode, encode, interpolate, temperature
from .likelihood import log_likelihood
from .measured import MeasuredReference
from .moments import reference_from_score
from .process import Process
from .processes import EDM, VESDE, VPSDE, ExponentialVESDE, SubVPSDE
from .references import GaussianReference, Isotropic, Reference
from .reverse import ReverseSDE
from .sampling import sample
from .sde import SDE
from .solution import NotFiniteWarning, Solution, Status
from .solvers import (
    DRI1,
    ERSDE,
    IPNDM,
    RK4,
    SRA1,
    SRA2,
    SRA3,
    SRIW1,
    AdaptiveExponential,
    AdaptiveODE,
    AdaptiveSDE,
    Ancestral,
    Annealed,
    DPMSolverMultistep,
    EDMHeun,
    EulerHeun,
    EulerMaruyama,
    EulerODE,
    ExponentialAdams,
    ExponentialRungeKutta,
    GottaGoFast,
    Heun,
    Midpoint,
    Milstein,
    PredictorCorrector,
    Restart,
    ReverseDiffusion,
    ShARK,
    Solver,
    UniPC,
    solver,
    solver_names,
)
from .spectral import SpectralReference
from .tune import Tuner, tune
from .tuned import Tuned
from .variational import variational_bound

__all__ = [
    "DDPM",
    "DRI1",
    "EDM",
    "ERSDE",
    "HMC",
    "IPNDM",
    "MALA",
    "RK4",
    "SDE",
    "SMLD",
    "SRA1",
    "SRA2",
    "SRA3",
    "SRIW1",
    "VESDE",
    "VPSDE",
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
    "Heun",
    "HutchPlusPlus",
    "Hutchinson",
    "Inpainting",
    "Isotropic",
    "Karras",
    "Langevin",
    "LogLikelihood",
    "LogSNR",
    "MeasuredReference",
    "Midpoint",
    "Milstein",
    "NotFiniteWarning",
    "PredictorCorrector",
    "Process",
    "Quadratic",
    "Reference",
    "Restart",
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
    "Tuned",
    "Tuner",
    "UnderdampedLangevin",
    "UniPC",
    "Uniform",
    "chain",
    "conditional",
    "decode",
    "dequantise",
    "encode",
    "grids",
    "interpolate",
    "latent",
    "log_density_path",
    "log_likelihood",
    "metrics",
    "reference_from_score",
    "sample",
    "scores",
    "solve",
    "solver",
    "solver_names",
    "temperature",
    "tune",
    "variational_bound",
]

try:
    __version__ = version("sdesolve")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0"
