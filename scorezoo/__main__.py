"""``python -m scorezoo``, which is what ``accelerate launch -m scorezoo`` runs."""

from .cli import app

app()
