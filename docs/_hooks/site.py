"""What is done to pages while the site is built: formulas become MathML.

Browsers draw MathML themselves, so that a page needs neither a network nor a script for it. To
stretch brackets and roots they need a font of mathematics: STIX Two Math, as ziamath ships it.
"""

from __future__ import annotations

import html
import re
from importlib import resources
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

__all__ = ["on_files", "on_page_content"]

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
_FONT = "STIXTwoMath-Regular.ttf"


def on_files(files: Files, config: Any, **_: Any) -> Files:  # noqa: ANN401
    """Add the font."""
    font = resources.files("ziamath.fonts").joinpath(_FONT).read_bytes()
    files.append(File.generated(config, f"assets/{_FONT}", content=font))
    return files


def _mathml(tex: str, display: str) -> str:
    tex = html.unescape(tex).strip()
    drawn = convert(tex, display=display)
    return drawn.replace("<math ", f'<math aria-label="{html.escape(tex)}" ', 1)


def on_page_content(content: str, **_: Any) -> str:  # noqa: ANN401
    """Formulas of a page, inline and displayed."""
    content = _DISPLAY.sub(
        lambda match: f'<div class="formula">{_mathml(match[1], "block")}</div>', content
    )
    return _INLINE.sub(lambda match: _mathml(match[1], "inline"), content)
