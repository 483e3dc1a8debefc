"""The tables of solvers in docs/choosing.md and docs/samplers.md are those of the registry."""

from pathlib import Path

import pytest

from benchmarks import choices, samplers, tables

ROOT = Path(__file__).parent.parent


def test_the_page_of_solvers_is_fresh():
    page = (ROOT / "docs" / "samplers.md").read_text()
    assert page == samplers.page(), "stale: run python -m benchmarks.samplers --write"


@pytest.mark.parametrize(
    ("name", "fresh", "command"),
    [
        ("solvers", tables.solvers, "tables"),
        ("equations", choices.equations, "choices"),
        ("few-calls", choices.few_calls, "choices"),
        ("noisy", choices.noisy, "choices"),
    ],
)
def test_the_tables_for_choosing_are_fresh(name, fresh, command):
    section = (ROOT / "docs" / "choosing.md").read_text().split(f"<!-- {name} -->")[1]
    section = section.split(f"<!-- /{name} -->")[0].strip()
    assert section == fresh(), f"stale: run python -m benchmarks.{command} --write"
