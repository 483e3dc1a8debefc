"""Wrong calls end in words: a fixed sample of the whole fuzz table."""

import warnings

import pytest
import torch

from benchmarks.fuzz import calls, run, summary
from benchmarks.fuzz_surface import library
from benchmarks.fuzz_surface.case import Case

SHARE = 0.02


@pytest.fixture(scope="module")
def verdicts():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield run(library(), SHARE)
    torch.set_num_threads(threads)


def test_nothing_wrong_passes_in_silence_and_nothing_hangs(verdicts):
    assert len(verdicts) > 300
    assert [v for v in verdicts if v.kind in ("silent", "hang")] == []


def test_errors_are_raised_on_purpose(verdicts):
    raw = [v for v in verdicts if v.kind == "raw"]
    assert len(raw) <= 0.02 * len(verdicts), raw


def test_right_arguments_are_accepted():
    """Otherwise every call with one wrong argument would be refused for another reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, case in library().items():
            arguments = {
                key: value.clone() if isinstance(value, torch.Tensor) else value
                for key, value in case.right.items()
            }
            result = case.call(**arguments)
            assert case.use is None or case.use(result) is not None, name


def _silent(x: float) -> float:
    return x


def _raw(x: float) -> float:
    return x["key"]


def _endless(x: float) -> float:
    while True:
        pass


def test_the_table_sees_what_it_is_made_to_see(monkeypatch):
    monkeypatch.setattr("benchmarks.fuzz._SECONDS", 0.05)
    for call, kind in ((_silent, "silent"), (_raw, "raw"), (_endless, "hang")):
        surface = {"f": Case(call, {"x": 1.0})}
        picked = [c for c in calls(surface) if c[3] in ("nan", "word")]
        found = summary(run(surface, 0.2 if kind == "hang" else 1.0))
        assert picked
        assert found[kind] > 0, (kind, found)
