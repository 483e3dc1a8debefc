"""``python -m scorezoo``, which is what ``accelerate launch -m scorezoo`` runs."""

from .entry import main

main()
