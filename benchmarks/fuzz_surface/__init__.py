"""The public surface for ``benchmarks.fuzz``: every callable with arguments that are right.

A file is a subject. Arguments that are not given are the defaults of the signature, so that an
option that is added is tried without a line here.
"""

from __future__ import annotations

from benchmarks.fuzz_surface.case import Case

__all__ = ["library", "zoo"]


def library() -> dict[str, Case]:
    """The surface of sdesolve."""
    from . import inverse, laws, peers, processes, runs, scores, solvers, tuning

    rooms = (processes, solvers, laws, scores, runs, inverse, tuning, peers)
    return {name: case for room in rooms for name, case in room.cases().items()}


def zoo() -> dict[str, Case]:
    """The Python functions of scorezoo."""
    from . import networks

    return networks.cases()
