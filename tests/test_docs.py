"""The pages of the site are true: their Python runs, their files exist, every public name is there.

A block of Python runs in the names of the blocks above it on its page. ``<!-- needs: a, b -->``
before it names modules without which it is skipped, ``<!-- not run: reason -->`` says why it is not
run at all.
"""

import importlib
import inspect
import json
import re
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
from typer.main import get_command

import scorezoo
import sdesolve as ss
from scorezoo.cli import app
from sdesolve.solvers import registry

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCK = re.compile(
    r"(?:<!-- (needs|not run): ([^>]*) -->\n+)?( *)```python[^\n]*\n(.*?)\n\3```", re.DOTALL
)


def blocks(text):
    """(what is said before it, modules or reason, code) of every block of Python."""
    for said, what, indent, code in BLOCK.findall(text):
        yield said, what, re.sub(f"^{indent}", "", code, flags=re.MULTILINE)


def missing(modules):
    for name in filter(None, re.split(r",\s*", modules)):
        try:
            importlib.import_module(name)
        except ImportError:
            return name
    return None


@pytest.mark.parametrize(
    "page",
    # how-do-i has tests of its own, which share a network.
    [p for p in PAGES if "```python" in p.read_text() and p.stem != "how-do-i"],
    ids=lambda p: p.stem,
)
def test_its_python_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    names, absent = {"__name__": "page"}, []
    for said, what, code in blocks(page.read_text()):
        if said == "not run":
            continue
        if said == "needs" and (name := missing(what)):
            absent.append(name)
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(deprecat|Deprecat).*", module="diffusers")
            exec(compile(code, f"{page.name}: {code.strip().splitlines()[0]}", "exec"), names)
    if absent:
        pytest.skip(f"the rest ran; without {', '.join(sorted(set(absent)))}")


def test_a_block_that_fails_is_noticed():
    (found,) = blocks("text\n\n    <!-- not a comment -->\n```python\nraise ValueError\n```\n")
    assert found == ("", "", "raise ValueError")
    said, what, code = next(blocks("<!-- needs: a.b, c -->\n\n  ```python\n  x = 1\n  ```\n"))
    assert (said, what, code) == ("needs", "a.b, c", "x = 1")


def test_every_public_name_is_in_the_reference():
    text = "\n".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    shown = set(re.findall(r"^::: ([\w.]+)", text, re.MULTILINE))
    rooms = {name.rpartition(".")[0] for name in shown}
    for package in (ss, scorezoo):
        for name in package.__all__:
            value = getattr(package, name)
            if isinstance(value, ModuleType):
                places = {value.__name__, f"{package.__name__}.{name}"}
                assert places & (shown | rooms), f"docs/api says nothing of ss.{name}"
            else:
                places = {package.__name__, getattr(value, "__module__", "")}
                said = {f"{place}.{name}" for place in places} & shown
                assert said, f"docs/api says nothing of {package.__name__}.{name}"


def test_every_command_is_in_the_reference():
    commands = get_command(app).commands
    said = re.findall(r"^\| `scorezoo ([\w-]+)` \| (.*) \|$", text_of("scorezoo"), re.MULTILINE)
    assert dict(said) == {name: c.help.splitlines()[0] for name, c in commands.items()}


def text_of(page):
    return (DOCS / "api" / f"{page}.md").read_text()


def test_what_the_reference_shows_exists():
    for path in (DOCS / "api").glob("*.md"):
        for name in re.findall(r"^::: ([\w.]+)", path.read_text(), re.MULTILINE):
            module, _, attribute = name.rpartition(".")
            if missing(name):  # no module: what a module holds
                assert hasattr(importlib.import_module(module), attribute), name


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES:
        assert re.search(rf": {page.name}\n", menu), page.name


def test_pictures_have_a_text_in_their_place():
    for page in (*PAGES, ROOT / "README.md"):
        for text in re.findall(r"!\[([^\]]*)\]\(", page.read_text()):
            assert len(text) > 5, page.name


QUESTIONS = re.search(
    r'<script type="application/json" id="choices">(.*?)</script>',
    (DOCS / "choosing.md").read_text(),
    re.DOTALL,
)
RULES = json.loads(QUESTIONS[1])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "-".join(rule["when"].values()))
def test_every_answer_of_the_questionnaire_runs(rule, monkeypatch):
    process = ss.EDM()
    data = ss.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.1)
    names = {
        "ss": ss, "torch": torch, "process": process, "score": data.score(process),
        "shape": (2, 2), "data": data.sample(32), "x": data.sample(2), "x0": torch.ones(2, 2),
        "drift": lambda x, t: -x, "diffusion": lambda x, t: 0.1 * x, "noise": 0.1,
    }  # fmt: skip
    if "ss.inverse" in rule["code"]:
        if not hasattr(ss, "inverse"):
            pytest.skip("without sdesolve.inverse")
        names |= {"A": ss.inverse.Matrix(torch.tensor([[1.0, 0.0]])), "y": torch.tensor([0.5])}
    if rule["when"].get("noise") == "general":
        names["diffusion"] = lambda x, t: 0.1 * torch.stack([x, x**2], -1)
    if rule["when"].get("noise") == "commutative":
        names["diffusion"] = lambda x, t: 0.1 * torch.stack([x, 2 * x], -1)
    if rule["when"].get("noise") == "additive":
        names["diffusion"] = lambda x, t: torch.full_like(x, 0.1)

    def tune(process, score, nfe, data, **options):  # takes a minute; its own tests run it
        inspect.signature(ss.Tuner).bind(process, score, data, **options)
        return ss.solver("dpmpp-2m" if not options else "dpmpp-2m-sde")

    monkeypatch.setattr(ss, "tune", tune)
    exec(compile(rule["code"], "answer", "exec"), names)


def test_every_choice_has_an_answer_and_every_answer_a_choice():
    form = (DOCS / "choosing.md").read_text()
    asked = re.findall(r'<fieldset data-question="(\w+)"(?: data-if="(\w+)=([\w|]+)")?', form)
    choices = {name: re.findall(rf'name="{name}" value="([\w-]+)"', form) for name, *_ in asked}
    assert all(len(values) > 1 for values in choices.values())
    paths = [{}]
    for name, on, values in asked:
        going = [path for path in paths if not on or path.get(on) in values.split("|")]
        paths = [path for path in paths if path not in going]
        paths += [{**path, name: choice} for path in going for choice in choices[name]]
    used = set()
    for path in paths:
        fit = [
            i for i, r in enumerate(RULES) if all(path.get(k) == v for k, v in r["when"].items())
        ]
        assert fit, path
        used.add(fit[0])
    assert used == set(range(len(RULES)))
