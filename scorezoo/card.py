"""The README that lies beside a model's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .recipes import write_toml

if TYPE_CHECKING:
    from .model import ScoreModel

__all__ = ["model_card"]

_FIGURES = {
    "step": "steps of training",
    "count": "samples judged",
    "nfe": "network calls of each",
    "kernel_x1000": "kernel distance x 1000 to the training images, general features",
    "sliced_w2": "sliced 2-Wasserstein distance to the data",
    "floor": "the same of real ones",
}


def model_card(model: ScoreModel) -> str:
    """Markdown: what the model is, what it was trained on, how to draw from it."""
    parameters = sum(p.numel() for p in model.parameters())
    low, high = model.data_range
    facts = [
        ("shape", "x".join(map(str, model.shape))),
        ("data range", f"[{low:g}, {high:g}]"),
        ("process", f"`{model.process}`"),
        ("network", f"`{type(model.network).__name__}`, {parameters:,} parameters"),
        ("output", f"`{model.preconditioning['name']}`"),
    ]
    if model.classes:
        names = f": {', '.join(model.class_names)}" if model.class_names else ""
        facts.append(("classes", f"{model.classes}{names}"))
    lines = [
        "---",
        "library_name: scorezoo",
        "tags:",
        "- score-based-generative-model",
        "---",
        "",
        "# A score network",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in facts),
        "",
        "    scorezoo sample FOLDER --output samples.png",
        "",
        "with the folder of this file; in Python:",
        "",
        "    import scorezoo, sdesolve as ss",
        "    model = scorezoo.load(FOLDER)",
        "    x = ss.sample(model.process, model.score, (16, *model.shape)).x",
    ]
    if model.figures is not None:
        known = {name: value for name, value in model.figures.items() if name in _FIGURES}
        lines += ["", "## Figures", "", "| | |", "| --- | --- |"]
        lines += [f"| {_FIGURES[name]} | {value:.4g} |" for name, value in known.items()]
        lines += ["", "Of few samples; `scorezoo evaluate FOLDER` judges many."]
    if model.recipe is not None:
        recipe = write_toml(model.recipe).rstrip().splitlines()
        lines += ["", "## Recipe", "", *(f"    {line}".rstrip() for line in recipe)]
    return "\n".join(lines) + "\n"
