"""``scorezoo list``: what ships with the package, from its metadata alone."""

from __future__ import annotations

import typer

__all__ = ["list_models"]


def list_models() -> None:
    """List what ships: models, recipes, features, classifiers.

    Example: scorezoo list
    """
    from ..folders import (
        count_parameters,
        guided_budgets,
        guided_name,
        pretrained_folder,
        pretrained_names,
        read_config,
        tuned_budgets,
    )
    from ..recipes import recipe_names

    root = pretrained_folder()
    for name in pretrained_names():
        config = read_config(root / name)
        process = dict(config["process"])
        arguments = ", ".join(f"{k}={v:g}" for k, v in process.items() if k != "name")
        shape = "x".join(map(str, config["shape"]))
        low, high = config["data_range"]
        classes = int(config["network"].get("classes", 0))
        budgets = ", ".join(map(str, tuned_budgets(root / name))) or "none"
        typer.echo(
            f"{name:18} {shape:>8} in [{low:g}, {high:g}]  "
            f"{count_parameters(root / name / 'model.safetensors'):>10,} parameters  "
            f"{process['name']}({arguments})"
        )
        names = ", ".join(config.get("class_names", ()))
        about = f"{classes} classes ({names}), " if classes and names else ""
        about = about or (f"{classes} classes, " if classes else "")
        for ends, files in guided_budgets(root / name).items():
            budgets += f" calls, {guided_name(*ends)} for {', '.join(map(str, files))}"
        typer.echo(f"{'':18} {about}tuned for {budgets} calls")
    features = sorted(path.stem for path in (root / "features").rglob("*.safetensors"))
    classifiers = sorted(path.parent.name for path in (root / "classifiers").glob("*/config.json"))
    typer.echo(f"recipes: {', '.join(recipe_names())}")
    typer.echo(f"feature extractors: {', '.join(features)}; classifiers: {', '.join(classifiers)}")
    typer.echo("solvers: scorezoo solvers; keys of a recipe: scorezoo recipe")
