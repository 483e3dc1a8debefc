"""Tests are deterministic: hypothesis is derandomised and nothing is timed."""

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("ci")
