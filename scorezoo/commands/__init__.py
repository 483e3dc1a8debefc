"""One command a file; ``scorezoo/cli.py`` assembles them.

A command imports what it computes with inside its body, so that ``scorezoo --help`` does not wait
for torch. ``options.py`` has the options that several share, ``run.py`` what surrounds each
command, ``drawing.py`` the drawing that ``sample`` and ``evaluate`` share.
"""
