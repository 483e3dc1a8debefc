"""README and CONTRIBUTING are true: code runs, links and paths lead somewhere, targets exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def test_its_python_runs_from_top_to_bottom():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)


def test_it_is_one_screen():
    assert len(README.splitlines()) <= 150


def test_its_links_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert link.startswith("http") or (ROOT / link).exists(), link


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_their_targets_of_make_exist(text):
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^    make ([\w-]+)|`make ([\w-]+)`", text, re.MULTILINE)
    assert targets
    for target in targets:
        assert f"\n{''.join(target)}:" in makefile


def test_the_paths_of_contributing_exist():
    paths = re.findall(r"(?:(?:tests|sdesolve|scorezoo|benchmarks|docs)/)[\w./]*", CONTRIBUTING)
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path.rstrip(".")).exists(), path
