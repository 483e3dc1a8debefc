"""torchdiffeq's functions, on the solvers of this library: a project changes its import and runs.

    from sdesolve.torchdiffeq import odeint, odeint_adjoint, odeint_event

The same arguments, method names and shapes. What differs: a failed integration raises
``UnfinishedError`` with the last good state; times and events have gradients in ``odeint`` itself;
Adams methods are right on grids of unequal steps; implicit methods take small states only; complex
states and ``odeint_dense`` are refused or not there. For a step size per sample
write the equation as an :class:`sdesolve.SDE` and call :func:`sdesolve.solve`.

May import from every room below. Read ``odeint.py``, ``state.py`` (what the arguments mean),
``methods.py`` (names and options), ``adjoint.py``.
"""

from .adjoint import odeint_adjoint
from .odeint import odeint, odeint_event

__all__ = ["odeint", "odeint_adjoint", "odeint_event"]
