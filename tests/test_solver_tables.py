"""The tables of solvers in the README and in docs/samplers.md are those of the registry."""

from pathlib import Path

from benchmarks import samplers, tables

ROOT = Path(__file__).parent.parent


def test_the_page_of_solvers_is_fresh():
    page = (ROOT / "docs" / "samplers.md").read_text()
    assert page == samplers.page(), "stale: run python -m benchmarks.samplers"


def test_the_solvers_of_the_readme_are_fresh():
    section = (ROOT / "README.md").read_text().split("<!-- solvers -->")[1]
    section = section.split("<!-- /solvers -->")[0].strip()
    assert section == tables.solvers(), "stale: run python -m benchmarks.tables"
