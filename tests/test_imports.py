"""Data flows one way: no module imports, even inside a function, what stands above it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the ground up. A room may import from the rooms before it and from itself.
FLOORS = (
    "checks",
    "shapes",
    "transforms",
    "outcome",
    "metrics",
    "noise",
    "equations",
    "grids",
    "scores",
    "closed_forms",
    "references",
    "correctors",
    "solvers",
    "loop",
    "starts",
    "sampling",
    "likelihood",
    "latent",
    "tuning",
    "inverse",
    "interop",
    "torchdiffeq",
    "torchsde",
    "testing",
    "readings",
    "describe",
)


def modules(package: Path) -> dict[str, Path]:
    return {
        ".".join((package.name, *f.relative_to(package).with_suffix("").parts)): f
        for f in package.rglob("*.py")
    }


def imported(name: str, file: Path, known: set[str]) -> set[str]:
    """Modules of the package that a file names in any of its import statements."""
    parts = name.split(".")
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            wanted = [stem, *(f"{stem}.{alias.name}" for alias in node.names)]
        else:
            continue
        for module in wanted:
            found |= {m for m in (module, f"{module}.__init__") if m in known}
    return found - {name}


def graph(package: Path) -> dict[str, set[str]]:
    files = modules(package)
    return {name: imported(name, file, set(files)) for name, file in files.items()}


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Modules left when those that import nothing that is left are taken away, again and again."""
    left = {name: set(targets) for name, targets in arrows.items()}
    while free := [name for name, targets in left.items() if not targets]:
        for name in free:
            del left[name]
        for targets in left.values():
            targets.difference_update(free)
    return sorted(left)


def upwards(arrows: dict[str, set[str]]) -> list[str]:
    def floor(name: str) -> int:
        room = name.split(".")[1]
        return len(FLOORS) if room == "__init__" else FLOORS.index(room)

    return [
        f"{name} imports {target}"
        for name, targets in arrows.items()
        for target in sorted(targets)
        if floor(target) > floor(name)
    ]


def test_no_module_imports_in_a_circle_or_upwards() -> None:
    arrows = graph(ROOT / "sdesolve")
    assert circle(arrows) == []
    assert upwards(arrows) == []


def test_the_room_that_judges_does_not_know_who_asks() -> None:
    below = {"data", "files", "folders", "kernels", "seeding", "judging", "__init__"}
    arrows = graph(ROOT / "scorezoo")
    rooms = [name for name in arrows if name.startswith("scorezoo.judging.")]
    assert len(rooms) == 6
    for name in rooms:
        assert {target.split(".")[1] for target in arrows[name]} <= below, name


def test_every_room_says_what_it_is_for() -> None:
    for room in (ROOT / "sdesolve").glob("*/__init__.py"):
        assert "Read ``" in (ast.get_docstring(ast.parse(room.read_text())) or ""), room


@pytest.mark.parametrize("package", ["sdesolve"])
def test_the_library_does_not_know_the_zoo(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.split(".")[0] == "scorezoo" for name in names), file


def test_a_circle_and_an_upward_import_would_be_found(tmp_path: Path) -> None:
    package = tmp_path / "sdesolve"
    (package / "noise").mkdir(parents=True)
    (package / "noise" / "streams.py").write_text("def f():\n    from ..loop import solve\n")
    (package / "loop").mkdir()
    (package / "loop" / "__init__.py").write_text("from ..noise.streams import f\n")
    arrows = graph(package)
    assert circle(arrows) == ["sdesolve.loop.__init__", "sdesolve.noise.streams"]
    assert upwards(arrows) == ["sdesolve.noise.streams imports sdesolve.loop.__init__"]


def test_what_only_some_need_is_imported_by_those() -> None:
    """The import of the library is that of torch: delegates and drawing come when they are used."""
    code = "import sys, sdesolve; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert not {"torchsde", "torchdiffeq", "scipy", "matplotlib"} & set(run.stdout.split())
