"""What ``benchmarks.kills`` measures, in short: a training that is killed is the one that was not.

Kills of sampling and of likelihoods are in ``tests/scorezoo``.
"""

from benchmarks import kills


def test_a_training_that_is_killed_twice_ends_as_if_it_had_not_been():
    found = kills.trial("training", 2)
    assert found.kills >= 2 and found.runs >= 1
    assert found.identical == found.runs
    assert found.failed == found.leftovers == 0


def test_the_table_says_what_was_found():
    row = {"processes": 1, "kills": 3, "runs": 2, "identical": 1, "failed": 0, "leftovers": 4}
    results = {
        "kills": {"training": row},
        "two at once": {"training": {"times": 3, "told": 3, "identical": 3}},
        "launched": {"samples": {"command": "accelerate launch", "identical": False}},
    }
    text = kills.table(results)
    assert "| training | 1 | 3 | 1 of 2 | 0 | 4 |" in text
    assert "3 times one worked" in text and "are not those of one process" in text
