"""Work done ahead: in order, and what fails is heard."""

import threading

import pytest

from scorezoo.prefetch import THREADS, prefetch


def test_the_next_steps_are_made_while_one_is_used_and_no_more():
    made, enough = set(), threading.Event()

    def make(step):
        made.add(step)
        if len(made) == THREADS + 1:
            enough.set()
        return step

    results = prefetch(make, range(100))
    assert next(results) == 0
    assert enough.wait(10) and made == set(range(THREADS + 1))
    assert list(results) == list(range(1, 100))


def test_a_failure_is_raised_where_its_step_is_due():
    def make(step):
        if step == 2:
            raise ValueError("step 2")
        return step

    results = prefetch(make, range(100))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="step 2"):
        next(results)
