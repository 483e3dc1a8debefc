"""What ``inpaint``, ``colorize`` and ``restore`` share: their options, and what they print.

The options that all three have are fields of :class:`Asked`, here and nowhere else:
:func:`completion` puts them behind a command's own ones, and hands them to it as one object.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from .options import BATCH_SIZE, BatchSize, Device, Seed
from .run import check_device, seconds, unfinished, what_ran

if TYPE_CHECKING:
    from torch import Tensor

    import sdesolve as ss

    from ..model import ScoreModel
    from ..restoration import Restoration

__all__ = ["Asked", "File", "completion", "finish"]

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


@dataclass(frozen=True)
class Asked:
    """What all three are asked for."""

    output: Picture
    model: ModelName
    noise: Noise
    method: Method
    count: Count = 8
    nfe: Calls = 20
    seed: Seed = 0
    batch_size: BatchSize = BATCH_SIZE
    device: Device = "cpu"

    def load(self) -> ScoreModel:
        """The network."""
        from ..model import load

        net = load(self.model, device=self.device)
        if len(net.shape) != 3:
            raise ValueError(f"{self.model!r} draws points of shape {net.shape}, not images")
        if self.method == "dps" and not self.noise:
            raise ValueError(
                "--method dps divides by the noise of what is seen; write --noise 0.001, or "
                "--method replace or ddrm"
            )
        return net

    def restore(self, net: ScoreModel, A: ss.inverse.Observation, seen: Tensor) -> Restoration:
        """Completions of what was seen."""
        from ..restoration import restore

        return restore(
            net,
            A,
            seen,
            noise=self.noise,
            method=self.method,
            count=self.count,
            nfe=self.nfe,
            seed=self.seed,
            batch_size=self.batch_size,
        )


def completion(
    *, output: str, model: str, noise: float, method: str = "reference"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command whose last argument is an :class:`Asked`, with its fields for options.

    Args:
        output: Default of the file.
        model: Default of the model.
        noise: Default of the noise.
        method: Default of the method. The cheapest, but where half an image is gone another one is
            better at equal calls (docs/inverse.md).
    """
    defaults = {"output": Path(output), "model": model, "noise": noise, "method": method}

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = [p for name, p in inspect.signature(command).parameters.items() if name != "asked"]
        shared = get_type_hints(Asked, include_extras=True)

        def run(**values: Any) -> None:  # noqa: ANN401
            from ..files import check_output

            asked = Asked(**{field.name: values.pop(field.name) for field in fields(Asked)})
            check_output(asked.output, (".png",))
            check_device(asked.device)
            command(**values, asked=asked)

        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [p.replace(annotation=hints[p.name], kind=kind) for p in own]
        parameters += [
            inspect.Parameter(
                field.name,
                kind,
                default=defaults.get(field.name, field.default),
                annotation=shared[field.name],
            )
            for field in fields(Asked)
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
        run.__doc__, run.__name__ = command.__doc__, command.__name__
        return run

    return wrap


def finish(
    asked: Asked, net: ScoreModel, seen: Tensor, result: Restoration, clean: Tensor | None
) -> None:
    """Write the picture, say what it cost, and exit with 1 if a sample is not whole."""
    from ..restoration import draw

    draw(asked.output, net, seen, result, clean)
    solution = result.solution
    nfe = int(solution.nfe.max())
    typer.echo(
        f"wrote {asked.output}: {'' if clean is None else 'the image, '}what is seen, "
        f"{len(solution.x)} completions, their spread (largest {result.spread.max().item():.3g})"
    )
    typer.echo(
        f"NFE {nfe}, {nfe * result.backward_passes} backward passes, "
        f"{seconds(result.seconds)} in all; {what_ran(solution)}"
    )
    if unfinished(solution):
        raise typer.Exit(1)
