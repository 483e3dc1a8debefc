"""The names of this package's solvers: name, how it is made, and where it was published.

A published sampler is a preset, a solver with the published arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..correctors import Langevin
from ..grids import Karras, Uniform
from ..references.base import Isotropic
from .adams import Adams
from .adaptive import Adaptive
from .adaptive_exponential import AdaptiveExponential
from .adaptive_ode import AdaptiveODE
from .adaptive_sde import AdaptiveSDE, GottaGoFast
from .additive import SRA1, SRA2, SRA3, ShARK
from .ancestral import Ancestral, ReverseDiffusion
from .base import Solver
from .dpmpp import DPMSolverMultistep
from .edm import EDMHeun
from .er_sde import ERSDE
from .euler import EulerMaruyama
from .exponential import ExponentialAdams
from .exponential_rk import ExponentialRungeKutta
from .implicit import ImplicitRK
from .ipndm import IPNDM
from .ito import SRIW1
from .kinetic import ALIGN, QUICSORT, ShOULD
from .log_ode import LogODE
from .milstein import Milstein
from .predictor_corrector import PredictorCorrector
from .registry import register
from .restart import Restart
from .reversible import ReversibleHeun
from .runge_kutta import RK4, RK38, EulerHeun, EulerODE, Heun, Heun3, Midpoint
from .splitting import SEA, SlowRK
from .unipc import UniPC
from .weak import DRI1

__all__: list[str] = []

_DATA, _NOISE = Isotropic(0.0), Isotropic(math.inf)
_FOSTER = "Foster, dos Reis & Strange 2024"
_SHIFTED = "Foster, Lyons & Oberhauser 2021, The shifted ODE method"
_WANNER = "Hairer & Wanner 1996, section"
_MILSTEIN = "Milstein 1974; Kloeden & Platen 1992, section 10.3"
_ROESSLER = "Roessler 2010, Runge-Kutta methods for the strong approximation of SDEs"
_UNIPC = "Zhao et al. 2023, UniPC, with B(h) = "

_TABLE: list[tuple[str, Callable[[], Solver | Adaptive], str]] = [
    ("euler-maruyama", EulerMaruyama, "Maruyama 1955; Kloeden & Platen 1992, section 10.2"),
    ("reverse-diffusion", ReverseDiffusion, "Song et al. 2021, equation 46 and appendix E"),
    ("ancestral", Ancestral, "Ho et al. 2020, section 3.2; Song et al. 2021, equations 4 and 47"),
    (
        "ancestral-upper",
        lambda: Ancestral(variance="upper"),
        "Ho et al. 2020, section 3.2, the larger of the two variances",
    ),
    (
        "predictor-corrector",
        lambda: PredictorCorrector(ReverseDiffusion(), Langevin()),
        "Song et al. 2021, algorithm 1, in the order of the published code",
    ),
    ("euler-ode", EulerODE, "Hairer, Norsett & Wanner 1993, section I.7"),
    ("heun", Heun, "Platen 1992 (PL1WM for additive noise); Karras et al. 2022, algorithm 1"),
    ("midpoint", Midpoint, "Kloeden & Platen 1992, section 11.1"),
    ("rk4", RK4, "Kutta 1901; Hairer, Norsett & Wanner 1993, section II.1"),
    ("heun3", Heun3, "Heun 1900; Hairer, Norsett & Wanner 1993, section II.1"),
    ("rk38", RK38, "Kutta 1901, the 3/8 rule; Hairer, Norsett & Wanner 1993, section II.1"),
    (
        "adams-bashforth",
        lambda: Adams(corrections=0),
        "Bashforth & Adams 1883; Hairer, Norsett & Wanner 1993, section III.1",
    ),
    ("adams-moulton", Adams, "Moulton 1926; Hairer, Norsett & Wanner 1993, section III.1"),
    (
        "implicit-euler",
        lambda: ImplicitRK("implicit-euler"),
        f"{_WANNER} IV.3",
    ),
    ("implicit-midpoint", lambda: ImplicitRK("implicit-midpoint"), f"{_WANNER} IV.5, Gauss, s = 1"),
    ("trapezoid", lambda: ImplicitRK("trapezoid"), f"{_WANNER} IV.5, Lobatto IIIA, s = 2"),
    ("sdirk2", lambda: ImplicitRK("sdirk2"), "Alexander 1977, theorem 5"),
    ("trbdf2", lambda: ImplicitRK("trbdf2"), "Bank et al. 1985, TR-BDF2"),
    ("radau3", lambda: ImplicitRK("radau3"), f"{_WANNER} IV.5, Radau IIA, s = 2"),
    ("radau5", ImplicitRK, f"{_WANNER} IV.5, Radau IIA, s = 3"),
    ("gauss4", lambda: ImplicitRK("gauss4"), "Butcher 1964, Gauss, s = 2"),
    ("gauss6", lambda: ImplicitRK("gauss6"), "Butcher 1964, Gauss, s = 3"),
    ("reversible-heun", ReversibleHeun, "Kidger et al. 2021, algorithm 1"),
    ("log-ode", LogODE, "Castell & Gaines 1996; Foster 2020 for the area"),
    ("euler-heun", EulerHeun, "Kloeden & Platen 1992, section 11.1"),
    ("milstein", Milstein, _MILSTEIN),
    (
        "milstein-derivative-free",
        lambda: Milstein(derivative_free=True),
        "Kloeden & Platen 1992, section 11.1",
    ),
    ("milstein-stratonovich", lambda: Milstein("stratonovich"), _MILSTEIN),
    (
        "milstein-stratonovich-derivative-free",
        lambda: Milstein("stratonovich", True),
        "Kloeden & Platen 1992, section 11.1",
    ),
    ("sra1", SRA1, f"{_ROESSLER}, SRA1"),
    ("sra2", SRA2, f"{_ROESSLER}, SRA2"),
    ("sra3", SRA3, f"{_ROESSLER}, SRA3"),
    ("sea", SEA, f"{_FOSTER}, equation 5.8"),
    ("slowrk", SlowRK, f"{_FOSTER}, equation 6.2"),
    ("align", ALIGN, f"{_SHIFTED}, section 5"),
    ("should", ShOULD, f"{_SHIFTED}, SORT with its last score kept"),
    (
        "quicsort",
        QUICSORT,
        "Scott, O'Kane, Jelincic & Foster 2025, Underdamped Langevin MCMC with third order "
        "convergence",
    ),
    ("shark", ShARK, f"{_FOSTER}, ShARK"),
    ("sriw1", SRIW1, f"{_ROESSLER}, section 5, SRIW1"),
    ("dri1", DRI1, "Debrabant & Roessler 2009, DRI1"),
    ("adaptive-dopri5", AdaptiveODE, "Dormand & Prince 1980"),
    (
        "adaptive-dopri8",
        lambda: AdaptiveODE("dopri8"),
        "Prince & Dormand 1981, RK8(7)13M",
    ),
    ("adaptive-bosh3", lambda: AdaptiveODE("bosh3"), "Bogacki & Shampine 1989"),
    ("adaptive-tsit5", lambda: AdaptiveODE("tsit5"), "Tsitouras 2011"),
    (
        "adaptive-exponential",
        AdaptiveExponential,
        "This package; variable steps as in Hairer, Norsett & Wanner 1993, section III.5",
    ),
    ("adaptive-sde", AdaptiveSDE, "Foster, dos Reis & Strange 2024; Rackauckas & Nie 2017"),
    ("adaptive-gotta-go-fast", GottaGoFast, "Jolicoeur-Martineau et al. 2021, algorithm 1"),
    (
        "ddim",
        lambda: ExponentialAdams(1, None, 0.0, _DATA),
        "Song, Meng & Ermon 2021, Denoising diffusion implicit models, equation 12 with eta = 0",
    ),
    (
        "ddpm",
        lambda: ExponentialAdams(1, None, 1.0, _DATA),
        "Ho et al. 2020, Denoising diffusion probabilistic models, equations 6 and 7",
    ),
    (
        "dpm-solver-1",
        lambda: ExponentialAdams(1, None, 0.0, _NOISE),
        "Lu et al. 2022, DPM-Solver, equation 3.7: DDIM",
    ),
    (
        "dpm-solver-2",
        lambda: ExponentialRungeKutta(2, _NOISE, 0.0),
        "Lu et al. 2022, DPM-Solver, algorithm 1",
    ),
    (
        "dpm-solver-3",
        lambda: ExponentialRungeKutta(3, _NOISE, 0.0),
        "Lu et al. 2022, DPM-Solver, algorithm 2",
    ),
    (
        "dpmpp-2s",
        lambda: ExponentialRungeKutta(2, _DATA, 0.0),
        "Lu et al. 2022, DPM-Solver++, algorithm 1, with r = 1/2",
    ),
    (
        "dpmpp-2m",
        lambda: DPMSolverMultistep(2, 0.0),
        "Lu et al. 2022, DPM-Solver++, algorithm 2",
    ),
    (
        "dpmpp-3m",
        lambda: ExponentialAdams(3, None, 0.0, _DATA),
        "Code of Lu et al. 2022, DPM-Solver++ (3M), with its missing factor of two",
    ),
    (
        "dpmpp-3m-published",
        lambda: DPMSolverMultistep(3, 0.0),
        "Code of Lu et al. 2022, DPM-Solver++ (3M), as it stands there and in diffusers",
    ),
    (
        "dpmpp-2m-sde",
        lambda: DPMSolverMultistep(2, 1.0),
        "Lu et al. 2022, DPM-Solver++, SDE-DPM-Solver++(2M)",
    ),
    (
        "dpmpp-3m-sde",
        lambda: ExponentialAdams(3, None, 1.0, _DATA),
        "Code of k-diffusion (3M SDE), with its missing factor of two",
    ),
    (
        "deis",
        lambda: ExponentialAdams(3, None, 0.0, _NOISE),
        "Zhang & Chen 2023, DEIS, with a polynomial in log(sigma / alpha), as in diffusers",
    ),
    (
        "deis-rho",
        lambda: ExponentialAdams(3, None, 0.0, _NOISE, clock=Karras(1.0)),
        "Zhang & Chen 2023, DEIS, rhoAB2: a polynomial in sigma / alpha",
    ),
    (
        "deis-t",
        lambda: ExponentialAdams(3, None, 0.0, _NOISE, clock=Uniform()),
        "Zhang & Chen 2023, DEIS, tAB2: a polynomial in t",
    ),
    ("ipndm", IPNDM, "Zhang & Chen 2023, DEIS, section 3 (iPNDM)"),
    (
        "lms",
        lambda: ExponentialAdams(4, None, 0.0, _NOISE, clock=Karras(1.0)),
        "Code of k-diffusion (LMS); rhoAB3 of Zhang & Chen 2023",
    ),
    ("unipc-2", lambda: UniPC(2, "bh2"), f"{_UNIPC}exp(h) - 1"),
    ("unipc-2-bh1", lambda: UniPC(2, "bh1"), f"{_UNIPC}h"),
    ("unipc-3", lambda: UniPC(3, "bh2"), f"{_UNIPC}exp(h) - 1"),
    ("unipc-3-bh1", lambda: UniPC(3, "bh1"), f"{_UNIPC}h"),
    (
        "sa-solver",
        lambda: ExponentialAdams(3, 4, 1.0, _DATA, final_order=1),
        "Xue et al. 2023, SA-Solver, algorithm 1: 3-step predictor, 4-node corrector, tau = 1",
    ),
    ("er-sde-2", lambda: ERSDE(2), "Cui et al. 2023, ER-SDE-Solver-2"),
    ("er-sde-3", lambda: ERSDE(3), "Cui et al. 2023, ER-SDE-Solver-3"),
    ("edm-heun", EDMHeun, "Karras et al. 2022, algorithm 1"),
    (
        "edm-heun-churn",
        lambda: EDMHeun(40.0, (0.05, 50.0), 1.003),
        "Karras et al. 2022, algorithm 2 and table 5, the settings for ImageNet 64",
    ),
    (
        "seeds-2",
        lambda: ExponentialRungeKutta(2, _DATA, 1.0),
        "Gonzalez et al. 2023, SEEDS-2, with data prediction",
    ),
    (
        "restart",
        Restart,
        "Xu et al. 2023, Restart sampling, algorithm 1, an interval for CIFAR-10",
    ),
]

for _name, _factory, _source in _TABLE:
    register(_name, _factory, source=_source)
