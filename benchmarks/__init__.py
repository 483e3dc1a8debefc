"""Slow evidence: each module is a command, its results are JSON in ``results/``."""
