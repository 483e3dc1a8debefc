"""What surrounds a command: errors in one line, exit codes, the group of processes.

====  ==========================================================================================
code  meaning
====  ==========================================================================================
0     done
1     it ran, and what came out is not whole: unfinished samples, a training that diverged
2     it was asked for something that cannot be; one sentence says what to write instead
====  ==========================================================================================
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from torch import Tensor

    import sdesolve as ss

    from ..data import ImageData

__all__ = [
    "check_device",
    "check_test_split",
    "command",
    "images_of",
    "report_skipped",
    "seconds",
    "unfinished",
    "unfinished_statuses",
    "what_ran",
]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn bad input into one line on stderr and exit code 2."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        try:
            with _group(), warnings.catch_warnings():
                # The command says the same of each status, in one line.
                warnings.filterwarnings("ignore", ".*samples? did not reach the end")
                function(*args, **kwargs)
        except FloatingPointError as error:
            typer.echo(f"scorezoo: {error}", err=True)
            raise typer.Exit(1) from error
        except BrokenPipeError:  # as in scorezoo list | head -1; typer ends quietly
            raise
        except (ValueError, TypeError, OSError) as error:
            typer.echo(f"scorezoo: {error}", err=True)
            raise typer.Exit(2) from error

    return run


def _group() -> Any:  # noqa: ANN401
    import os

    if "WORLD_SIZE" not in os.environ:
        return nullcontext()
    from .. import sharding

    return sharding.group()


def check_device(name: str) -> str:
    """The device, if this machine has it.

    Raises:
        ValueError: If it does not, or torch knows none of that name.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"--device {name}: there is no such device; write cpu, cuda or mps") from (
            error
        )
    if device.type == "cpu":
        return name
    try:
        torch.zeros(1, device=device)
        usable = device.type != "meta"
    except (RuntimeError, AssertionError, ImportError, NotImplementedError):
        usable = False
    if not usable:
        raise ValueError(f"--device {name}: this machine or this torch has none; write cpu")
    return name


def unfinished(solution: ss.Solution, what: str = "samples", cure: str = "raise --nfe") -> int:
    """Name the samples that did not reach the end; how many there are.

    Args:
        solution: Result of a solver.
        what: What they are called.
        cure: What to write where a budget was exhausted.
    """
    return unfinished_statuses(solution.status, what, cure, solution.reached)


def unfinished_statuses(
    status: Tensor, what: str, cure: str = "raise --tolerance", reached: Tensor | None = None
) -> int:
    """As :func:`unfinished`, of statuses ``(n,)`` and the times that were reached."""
    import torch

    import sdesolve as ss

    words = {
        ss.Status.STEP_TOO_SMALL: ("the step became too small", "raise --tolerance"),
        ss.Status.TOO_MANY_STEPS: ("budget exhausted", cure),
        ss.Status.NOT_FINITE: ("not finite", "the network gave NaN or infinity"),
    }
    status = status.reshape(-1, status.shape[-1]).amax(0)
    for kind, (reason, advice) in words.items():
        which = torch.nonzero(status.cpu() == kind).flatten()
        if not len(which):
            continue
        where = ""
        if reached is not None:
            low, high = (f"{v.item():.3g}" for v in torch.aminmax(reached.cpu()[which]))
            where = f" at t = {low}" if low == high else f" at t = {low} to {high}"
        named = ", ".join(map(str, which[:10].tolist())) + (", ..." if len(which) > 10 else "")
        typer.echo(
            f"{len(which)} of {len(status)} {what} unfinished ({reason}{where}; number {named}); "
            f"{advice}",
            err=True,
        )
    return int((status != ss.Status.DONE).sum())


def seconds(value: float) -> str:
    """A time in units that read well.

    Examples:
        >>> [seconds(value) for value in (0.0021, 1.18, 75.0, 7500.0)]
        ['2.1 ms', '1.18 s', '1 min 15 s', '2 h 5 min']
    """
    if value < 1:
        return f"{1e3 * value:.3g} ms"
    if value < 60:
        return f"{value:.3g} s"
    if value < 3600:
        return f"{int(value // 60)} min {int(value % 60)} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60)} min"


def what_ran(solution: ss.Solution) -> str:
    """What ran and how many steps it took, without the settings of the solver."""
    return re.sub(r"^(\w+)\(.*\)[^,]*, (\d+ (?:to \d+ )?steps?)", r"\1, \2", solution.ran)


def images_of(model: str, data: str | None, split: str, skip_corrupt: bool = False) -> ImageData:
    """Images of a split: of ``data``, or of what the model was trained on.

    Raises:
        ValueError: If neither is known, the recipe has no images, or they cannot be read.
    """
    from ..data import load_images
    from ..folders import recipe_of

    table: dict[str, Any] = {"source": data}
    if data is None:
        recipe = recipe_of(model)
        if recipe is None:
            raise ValueError(
                f"no recipe says what {model!r} was trained on; write --data HUB_ID_OR_FOLDER"
            )
        table = recipe["data"]
        if "source" not in table:
            raise ValueError(f"{model!r} was trained on points of a toy density, not on images")
    images = load_images(
        table["source"], split, holdout=table.get("holdout", 0.0), skip_corrupt=skip_corrupt
    )
    report_skipped(images.skipped)
    return images


def check_test_split(data: str, instead: str = "") -> None:
    """Raise where a data set is known to have no test split.

    Args:
        data: Hub id or folder.
        instead: Another thing to write, for the message.

    Raises:
        ValueError: If it has none.
    """
    from ..data import split_names

    if (known := split_names(data)) and "test" not in known:
        raise ValueError(
            f"{data!r} has no test split, which the accuracy is told on; put a tenth of the images "
            f"into test/CLASS/ and the others into train/CLASS/{instead}"
        )


def report_skipped(skipped: Sequence[str]) -> None:
    """Say which images were left out."""
    if skipped:
        more = f", and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        typer.echo(f"left out {len(skipped)} images: {'; '.join(skipped[:3])}{more}", err=True)
