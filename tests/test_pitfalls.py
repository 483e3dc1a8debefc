"""The demonstrations show what they say, those that train in a few steps."""

import pytest

from benchmarks import pitfalls


@pytest.mark.parametrize("name", ["manifold", "thin", "annealing"])
def test_demonstrations_write_their_figure(name, tmp_path):
    numbers = getattr(pitfalls, name)(tmp_path, steps=3)
    assert all(value == value for value in numbers.values())
    assert (tmp_path / f"pitfall_{name}.png").stat().st_size > 5000


def test_langevin_is_blind_to_weights_and_annealing_is_not(tmp_path):
    numbers = pitfalls.blind(tmp_path, moves=200)
    begun = numbers["of starting points nearer to it"]
    assert numbers["by Langevin"] == pytest.approx(begun, abs=0.06)
    assert numbers["by Metropolis-adjusted Langevin"] == pytest.approx(begun, abs=0.06)
    assert numbers["by annealed Langevin"] == pytest.approx(0.2, abs=0.06)
    assert begun > 0.45
