"""Slow evidence: what is claimed is measured by commands whose results are JSON in ``results/``.

    make bench-install                       # the peers, beside what the tests need
    python -m benchmarks.nfe_quality --quick
    python -m benchmarks.speed --help

A run prints its table and writes under ``runs/benchmarks`` (or ``--output FOLDER``). With
``--write`` it publishes: ``results/``, ``docs/`` and the tables of README and docs.

Commands: adaptive, choices, convergence, fashion_mnist, few_images, few_strips, fuzz, guided,
image_folder, inverse, kills, left_over, likelihood, losses, nfe_quality, nfe_strips, nfe_tables,
pitfalls, report, samplers, speed, stand_ins, step_overhead, tables, toys, travel, tuned,
tuned_laws, uniqueness, zoo. The other modules are their parts.
"""
