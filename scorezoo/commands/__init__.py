"""Commands that are more than a page; ``scorezoo/cli.py`` registers them."""
