"""Solvers by name: the register that command lines, tests and benchmarks read.

``named.py`` fills it with the solvers of this package; :func:`register` adds your own.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import NamedTuple

from .adaptive import Adaptive
from .base import Solver

__all__ = ["register", "solver", "solver_names", "source"]

AnyNamed = Solver | Adaptive


class _Entry(NamedTuple):
    factory: Callable[[], AnyNamed]
    source: str
    special: bool


_ENTRIES: dict[str, _Entry] = {}
_GROUP = "sdesolve.solvers"
_plugins_loaded = False


def register(name: str, factory: Callable[[], AnyNamed], *, source: str) -> None:
    """Give a solver a name, for :func:`solver` and everything that lists solvers.

    The command line and the benchmarks are processes of their own. They find your solver if the
    package that registers it names its module as an entry point::

        [project.entry-points."sdesolve.solvers"]
        mine = "mine.solvers"

    :func:`sdesolve.testing.check_solver` proves that it is what it declares.

    Args:
        name: Lower-case words and numbers joined by hyphens, such as "dpmpp-2m".
        factory: Makes the solver; its class, where all arguments have defaults.
        source: Where it was published: "Author year, title, equation or algorithm".

    Raises:
        TypeError: If the factory makes no solver, or an argument has the wrong type.
        ValueError: If the name is badly formed, or taken by another factory, or the source is
            empty.

    Examples:
        >>> import sdesolve as ss
        >>> ss.register("heun", ss.ShARK, source="Foster, dos Reis & Strange 2024, ShARK")
        Traceback (most recent call last):
        ...
        ValueError: the name 'heun' is taken by Heun; choose another, such as 'heun-2'
    """
    if not isinstance(name, str) or not isinstance(source, str):
        raise TypeError(f"name and source are strings, got {name!r} and {source!r}")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        proper = "-".join(re.findall(r"[a-z0-9]+", name.lower())) or "my-solver"
        raise ValueError(
            f"a name is lower-case words and numbers joined by hyphens, got {name!r}; write "
            f"{proper!r}"
        )
    if not source.strip():
        raise ValueError(
            f'{name} needs a source: write source="Author year, title, equation", or for a method '
            "of your own where it is written down"
        )
    if not callable(factory):
        raise TypeError(f"factory makes a solver when called, got {factory!r}; pass the class")
    known = _ENTRIES.get(name)
    if known is not None and not _same(known.factory, factory):
        raise ValueError(
            f"the name {name!r} is taken by {_title(known.factory)}; choose another, such as "
            f"'{name}-2'"
        )
    made = factory()
    if not isinstance(made, AnyNamed):
        raise TypeError(
            f"the factory of {name} makes {made!r}, which is neither a Solver nor an Adaptive; "
            "derive your class from sdesolve.Solver"
        )
    _ENTRIES[name] = _Entry(factory, source.strip(), isinstance(made, Solver) and made.special)


def solver_names(*, special: bool = False) -> list[str]:
    """Names that :func:`solver` knows, in the order in which they were registered.

    Args:
        special: Those of the methods for equations that no score gives, stiff ones, noise that does
            not commute and Langevin dynamics, instead of all others.

    Examples:
        >>> solver_names(special=True)[-3:]
        ['align', 'should', 'quicsort']
    """
    _load_plugins()
    return [name for name, entry in _ENTRIES.items() if entry.special == special]


def solver(name: str) -> AnyNamed:
    """Make the solver called ``name``.

    Raises:
        TypeError: If the name is not a string.
        ValueError: If no solver has this name; the nearest names are listed.

    Examples:
        >>> solver("heun")
        Heun()
        >>> solver("unipc-3")
        UniPC(order=3, b='bh2', final_order=1)
    """
    return _entry(name).factory()


def source(name: str) -> str:
    """Where the solver called ``name`` was published.

    Raises:
        TypeError: If the name is not a string.
        ValueError: If no solver has this name; the nearest names are listed.

    Examples:
        >>> source("edm-heun")
        'Karras et al. 2022, algorithm 1'
    """
    return _entry(name).source


def _entry(name: str) -> _Entry:
    if not isinstance(name, str):
        raise TypeError(f'a name is a string such as "heun", got {name!r}')
    if name not in _ENTRIES:
        _load_plugins()  # an entry point may have it
        names = list(_ENTRIES)
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
            cure = f"did you mean {', '.join(near)}?" if near else "ss.solver_names() lists all"
            raise ValueError(f"unknown solver {name!r}; {cure}")
    return _ENTRIES[name]


def _same(one: object, other: object) -> bool:
    """Whether two factories are one, or one defined again, as by a reload or in a notebook."""
    names = [(getattr(f, "__module__", ""), _title(f)) for f in (one, other)]
    return one is other or (names[0] == names[1] and "<" not in names[0][1])


def _title(factory: object) -> str:
    return str(getattr(factory, "__qualname__", repr(factory)))


def _load_plugins() -> None:
    """Import, once and not before a name is asked for, the modules that other packages name."""
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True
    for point in entry_points(group=_GROUP):
        try:
            point.load()
        except Exception as error:  # someone else's package must not take ours down
            warnings.warn(
                f"the solvers of {point.value!r} are missing: {type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=3,
            )
