"""One version, versions that every Python can have, and a command that says what is missing."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scorezoo import folders
from scorezoo.entry import main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
TABLES = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = TABLES["project"]
EXTRAS = TABLES["tool"]["hatch"]["metadata"]["hooks"]["custom"]["extras"]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def _holds(requirement, python):
    return requirement.marker is None or requirement.marker.evaluate({"python_version": python})


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_every_requirement_has_one_version_on_every_python(python):
    pins = [pin for pin in PINS if _holds(pin, python)]
    names = [canonicalize_name(pin.name) for pin in pins]
    assert len(names) == len(set(names))
    version = {
        n: re.fullmatch("==(.*)", str(p.specifier))[1] for n, p in zip(names, pins, strict=True)
    }
    extras = EXTRAS.values()
    for requirement in map(Requirement, chain(PROJECT["dependencies"], *extras)):
        name = canonicalize_name(requirement.name)
        if name != PROJECT["name"] and _holds(requirement, python):
            assert requirement.specifier.contains(version[name]), requirement


def test_what_bench_install_adds_is_pinned():
    line = re.search(r"--no-deps (.*)", (ROOT / "Makefile").read_text())[1]
    assert {canonicalize_name(pin.name) for pin in PINS} >= set(line.split())


def test_the_citation_has_the_version_of_the_project():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in citation


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "scorezoo.cli", raising=False)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr() == (
        "",
        "scorezoo: typer is missing; install the command line with pip install 'sdesolve[zoo]'\n",
    )


def test_a_missing_module_of_ours_is_not_blamed_on_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scorezoo.cli", None)
    with pytest.raises(ModuleNotFoundError):
        main()


def test_the_weights_have_the_version_of_the_project():
    weights = tomllib.loads((ROOT / "packaging" / "weights" / "pyproject.toml").read_text())
    pattern = weights["tool"]["hatch"]["version"]["pattern"]
    found = re.findall(pattern, (ROOT / "pyproject.toml").read_text())
    assert found == [PROJECT["version"]]


def test_without_a_clone_the_models_are_those_of_the_weights(tmp_path, monkeypatch):
    package = tmp_path / "scorezoo_weights"
    shutil.copytree(folders.pretrained_folder() / "toy-moons", package / "pretrained" / "toy-moons")
    (package / "__init__.py").touch()
    monkeypatch.setattr(folders, "__file__", str(tmp_path / "scorezoo" / "folders.py"))
    with monkeypatch.context() as absent:  # also where they are installed
        absent.setattr(folders, "find_spec", lambda name: None)
        assert folders.pretrained_names() == []
        with pytest.raises(ValueError, match=r"not installed: write pip install 'sdesolve\[zoo\]'"):
            folders.find_model("toy-moons")
    monkeypatch.syspath_prepend(tmp_path)
    assert folders.pretrained_names() == ["toy-moons"]
    assert folders.find_model("toy-moons") == package / "pretrained" / "toy-moons"


def test_what_is_built_is_small_and_asks_for_the_weights(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install hatchling")
    built = {}
    for target in ("sdist", "wheel"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(tmp_path)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        (built[target],) = {*tmp_path.iterdir()} - {*built.values()}
    assert all(path.stat().st_size < 1.5e6 for path in built.values())
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = wheel.namelist()
    assert {"sdesolve/py.typed", "scorezoo/py.typed"} <= {*names}
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"sdesolve", "scorezoo"}
    assert not [name for name in names if name.endswith((".safetensors", ".png"))]
    with tarfile.open(built["sdist"]) as sdist:
        (about,) = (m for m in sdist.getmembers() if m.name.endswith("PKG-INFO"))
        asked = sdist.extractfile(about).read().decode()
    named = f"scorezoo-weights=={PROJECT['version']}; extra == 'zoo'"
    assert named in asked and "file:" not in asked
