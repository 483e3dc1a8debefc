"""Names: what may be registered, and where a registered solver then appears."""

import dataclasses
import importlib.metadata

import pytest

import sdesolve as ss
from benchmarks import samplers, tables
from sdesolve.solvers import registry, source


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


@dataclasses.dataclass(frozen=True)
class Mine(ss.EulerMaruyama):
    pass


def test_a_registered_solver_appears_wherever_solvers_are_listed():
    ss.register("my-euler", Mine, source="Me 2026, equation 1")
    assert ss.solver("my-euler") == Mine()
    assert ss.solver_names()[-1] == "my-euler"
    assert source("my-euler") == "Me 2026, equation 1"
    assert "| `my-euler` | Me 2026, equation 1 | `Mine()` | 1 | 1 |" in samplers.page()
    assert "| `my-euler` | `Mine` |" in tables.solvers()
    with pytest.raises(ValueError, match="did you mean my-euler"):
        ss.solver("my-eular")


def test_an_adaptive_solver_may_be_registered():
    ss.register("loose", lambda: ss.AdaptiveODE(rtol=0.1, atol=0.1), source="Me 2026")
    assert ss.solver("loose").rtol == 0.1
    assert "| `loose` | Me 2026 | `AdaptiveODE(rtol=0.1, atol=0.1)` |" in samplers.page()


def test_every_name_has_a_source():
    for name in ss.solver_names():
        assert len(source(name)) > 8, name


def test_a_name_has_one_factory():
    ss.register("mine", Mine, source="Me 2026")
    ss.register("mine", Mine, source="Me 2026")
    # The same class defined again, as in a notebook.
    again = dataclasses.dataclass(frozen=True)(type("Mine", (ss.Heun,), {"__module__": __name__}))
    ss.register("mine", again, source="Me 2026")
    assert type(ss.solver("mine")) is again
    with pytest.raises(ValueError, match=r"'mine' is taken by Mine; .*'mine-2'"):
        ss.register("mine", ss.Heun, source="Me 2026")
    first, second = (lambda: Mine()), (lambda: Mine())
    ss.register("made", first, source="Me 2026")
    with pytest.raises(ValueError, match="is taken"):
        ss.register("made", second, source="Me 2026")


@pytest.mark.parametrize(
    ("name", "factory", "source", "error", "message"),
    [
        ("My Solver", Mine, "Me", ValueError, "write 'my-solver'"),
        ("my_solver", Mine, "Me", ValueError, "write 'my-solver'"),
        ("-", Mine, "Me", ValueError, "joined by hyphens"),
        (Mine, "mine", "Me", TypeError, "name and source are strings"),
        ("mine", Mine, " ", ValueError, "mine needs a source"),
        ("mine", Mine(), "Me", TypeError, "pass the class"),
        ("mine", dict, "Me", TypeError, "neither a Solver nor an Adaptive"),
    ],
)
def test_what_cannot_be_registered(name, factory, source, error, message):
    with pytest.raises(error, match=message):
        ss.register(name, factory, source=source)
    assert "mine" not in ss.solver_names()


class _Point:
    value = "elsewhere.solvers"

    def __init__(self, load):
        self.load = load


def _plugins(monkeypatch, *loads):
    points = [_Point(load) for load in loads]
    monkeypatch.setattr(registry, "_plugins_loaded", False)
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


def test_solvers_of_other_packages_are_found_when_a_name_is_asked_for(monkeypatch):
    _plugins(monkeypatch, lambda: ss.register("theirs", Mine, source="They 2026"))
    assert ss.solver("theirs") == Mine()
    assert "theirs" in ss.solver_names()
    assert importlib.metadata.entry_points(group="sdesolve.solvers") is not None


def test_a_broken_package_of_solvers_does_not_take_the_others_down(monkeypatch):
    def broken():
        raise ImportError("no such module")

    _plugins(monkeypatch, broken, lambda: ss.register("theirs", Mine, source="They 2026"))
    with pytest.warns(RuntimeWarning, match=r"elsewhere\.solvers.*ImportError: no such module"):
        assert "theirs" in ss.solver_names()


def test_declarations_may_be_values_fields_or_properties():
    """And a class without an order cannot be made."""

    class NoOrder(ss.Solver):
        def plan(self, problem, grid):
            return None

        def step(self, problem, plan, i, x, state, noise):
            return ss.Step(x)

    with pytest.raises(TypeError, match="order"):
        NoOrder()

    @dataclasses.dataclass(frozen=True)
    class Field(NoOrder):
        order: int = 3

        @property
        def weak_order(self):
            return {"additive": self.order - 1}

    assert Field().order == 3
    assert Field(2).weak_order == {"additive": 1}
    assert Field().noise_types == ("none", "additive")
    assert Field().orders == (3, 3)
