"""Docstrings as Markdown: the roles and the directive that ours use, in Markdown's words."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

__all__ = ["ReadDocstrings", "markdown"]

_MATH = re.compile(r"^( *)\.\. math::\n\n((?:\1 +.*\n?|\n)+)", re.MULTILINE)
_LITERAL = re.compile(r"::\n\n(?=( +))")
_ROLE = re.compile(r":\w+:`~?\.?([\w.]+)`")
_INLINE = re.compile(r":math:`([^`]+)`")


def markdown(text: str) -> str:
    """Text of a docstring: displayed formulas, references to objects, literal blocks."""

    def formula(match: re.Match[str]) -> str:
        indent, body = match.groups()
        inner = textwrap.indent(textwrap.dedent(body).strip(), indent)
        return f"{indent}$$\n{inner}\n{indent}$$\n\n"

    text = _MATH.sub(formula, text if text.endswith("\n") else text + "\n")
    text = _INLINE.sub(r"\\(\1\\)", text)
    text = _ROLE.sub(lambda match: f"`{match[1]}`", text)
    return _LITERAL.sub(":\n\n", text).rstrip()


class ReadDocstrings(griffe.Extension):
    """Rewrites every docstring that is collected."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401
        """One module, class, function or attribute."""
        if obj.docstring:
            text = obj.docstring.value
            if obj.is_module:  # what a reader of the source is told of its files
                text = re.sub(r"\n\n(?:May import|Read ``)(?:.+\n?)+", "\n", text)
            obj.docstring.value = markdown(text)
