"""One version, versions that every Python can have, and a command that says what is missing."""

import re
import sys
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scorezoo.entry import main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
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
    extras = PROJECT["optional-dependencies"].values()
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
