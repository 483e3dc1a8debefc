"""What ``inpaint``, ``colorize`` and ``restore`` share: options, and what they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .run import seconds, unfinished

if TYPE_CHECKING:
    from torch import Tensor

    from ..model import ScoreModel
    from ..restoration import Restoration

__all__ = ["Calls", "Count", "File", "Method", "ModelName", "Noise", "Picture", "finish"]

File = Annotated[Path, typer.Argument(help="Image file, of the model's size.")]
ModelName = Annotated[
    str,
    typer.Option("--model", help="A shipped name, the folder of a run or of a model, or a Hub id."),
]
Noise = Annotated[
    float,
    typer.Option(min=0.0, help="Standard deviation of the noise in what is seen, in data units."),
]
Method = Annotated[
    str,
    typer.Option(help="moments, reference, diffpir, pigdm, dps, ddrm or replace."),
]
Count = Annotated[int, typer.Option(min=1, help="Number of completions.")]
Calls = Annotated[int, typer.Option("--nfe", min=2, help="Budget of network calls of each.")]
Picture = Annotated[Path, typer.Option("--output", help="PNG file to write.")]


def finish(
    output: Path, net: ScoreModel, seen: Tensor, result: Restoration, clean: Tensor | None
) -> None:
    """Write the picture, say what it cost, and exit with 1 if a sample is not whole."""
    from ..restoration import draw

    draw(output, net, seen, result, clean)
    solution = result.solution
    nfe = int(solution.nfe.max())
    typer.echo(
        f"wrote {output}: {'' if clean is None else 'the image, '}what is seen, {len(solution.x)} "
        f"completions, their spread (largest {result.spread.max().item():.3g})"
    )
    typer.echo(
        f"NFE {nfe}, {nfe * result.backward_passes} backward passes, "
        f"{seconds(result.seconds)} in all; {solution.ran}"
    )
    if unfinished(solution):
        raise typer.Exit(1)
