"""Every benchmark explains itself, and only ``--write`` touches what is published."""

import argparse
import hashlib
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("scorezoo.cli")
import benchmarks
from benchmarks import record

# diffusers hands tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "benchmarks").glob("*.py"))
COMMANDS = [file.stem for file in FILES if "def main(" in file.read_text()]
WRITTEN = [
    f for f in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) if "benchmarks." in f.read_text()
]


class Parsed(Exception):
    """Raised where a benchmark would begin."""


@pytest.fixture
def published():
    """Hash of everything that a benchmark can publish."""

    def state():
        files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.*"), *record.RESULTS.rglob("*.json")]
        return {f: hashlib.sha256(f.read_bytes()).digest() for f in files if f.is_file()}

    return state


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option_and_runs_nothing(name, monkeypatch, capsys, published):
    parsers = []
    show = argparse.ArgumentParser.print_help
    monkeypatch.setattr(
        argparse.ArgumentParser, "print_help", lambda self: (parsers.append(self), show(self))
    )
    before = published()
    module = import_module(f"benchmarks.{name}")
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    assert end.value.code in (0, None)
    out = capsys.readouterr().out
    assert out.startswith("usage: ")
    # Lines stay lines: the examples of the description are not run into a paragraph.
    assert [line for line in out.splitlines() if line.startswith("    python -m benchmarks.")]
    assert all(action.help for action in parsers[0]._actions)
    assert published() == before


def test_the_package_names_its_commands():
    said = benchmarks.__doc__.split("Commands: ")[1].split(".")[0]
    assert sorted(re.findall(r"\w+", said)) == sorted(COMMANDS)


def test_only_write_publishes(tmp_path):
    def place(*argv):
        return record.place(record.parser("").parse_args(argv))

    assert place().results == record.TRIALS and not place().published
    assert place("--output", str(tmp_path)).results == tmp_path
    assert place("--write").results == record.RESULTS and place("--write").published
    with pytest.raises(SystemExit):
        place("--write", "--output", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "argv", "files"),
    [
        ("samplers", [], {"samplers.md"}),
        ("step_overhead", ["--repeats", "1", "--solvers", "heun"], {"step_overhead.json"}),
    ],
)
def test_a_trial_leaves_what_is_published_alone(
    name, argv, files, monkeypatch, tmp_path, capsys, published
):
    monkeypatch.setattr(record, "TRIALS", tmp_path)
    before = published()
    import_module(f"benchmarks.{name}").main(argv)
    assert published() == before
    assert {file.name for file in tmp_path.iterdir()} == files
    out = capsys.readouterr().out
    assert "heun" in out and "A trial run" in out
    assert all(str(tmp_path / file) in out for file in files)


def test_write_publishes(monkeypatch, tmp_path, capsys):
    (tmp_path / "README.md").write_text("<!-- a -->\nold\n<!-- /a -->\n")
    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    place = record.Place(None)
    place.write("some", {"a": 1})
    place.section("a", "new")
    place.page("some.md", "text")
    assert record.read("some") == place.read("some") == {"a": 1} and record.read("none") == {}
    assert (tmp_path / "README.md").read_text() == "<!-- a -->\nnew\n<!-- /a -->\n"
    assert (tmp_path / "docs" / "some.md").read_text() == "text"
    (tmp_path / "docs" / "other.md").write_text("<!-- b -->\n<!-- /b -->\n")
    record.Place(None).section("b", "found")
    assert (tmp_path / "docs" / "other.md").read_text() == "<!-- b -->\nfound\n<!-- /b -->\n"
    with pytest.raises(LookupError, match="<!-- c -->"):
        record.Place(None).section("c", "nowhere")
    place.finish()
    assert capsys.readouterr().out.split() == [
        "wrote",
        "results/some.json",
        "wrote",
        "README.md",
        "wrote",
        "docs/some.md",
    ]


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: file.name)
def test_commands_in_the_documents_are_understood(file, monkeypatch):
    def stop(*arguments):
        raise Parsed

    monkeypatch.setattr(record, "place", stop)
    monkeypatch.setattr("benchmarks.image_folder.write", stop)  # its folder is no result
    for name, rest in re.findall(r"python -m benchmarks\.([\w.]+)([^`\n#]*)", file.read_text()):
        with pytest.raises(Parsed):
            import_module(f"benchmarks.{name}").main(shlex.split(rest))


def test_a_quick_run_is_not_published(capsys):
    with pytest.raises(SystemExit):
        import_module("benchmarks.nfe_quality").main(["--quick", "--write"])
    assert "not published" in capsys.readouterr().err


def test_a_quick_run_ends_with_its_table_and_its_file(monkeypatch, tmp_path, capsys, published):
    quality = import_module("benchmarks.nfe_quality")
    monkeypatch.setattr("benchmarks.problems.CACHE", tmp_path / "exact")
    quick = {
        "problems": ("gauss64",),
        "solvers": ("ours default", "ours ddim"),
        "budgets": (5,),
        "count": 4,
    }
    monkeypatch.setattr(quality, "QUICK", quick)
    before = published()
    quality.main(["--quick", "--output", str(tmp_path)])
    assert published() == before
    out = capsys.readouterr().out
    path = tmp_path / "nfe_quality" / "gauss64-4.json"
    assert path.exists()
    assert re.search(r"\| ours default \| [0-9.e-]+ \|", out)
    assert out.index("| ours default |") < out.index(str(path))
