"""A trained score: a network, the process it was trained under, and how its data look.

A model is a folder with ``config.json`` and ``model.safetensors``, and, once it was tuned, the
spectrum or principal variances of its data and solvers for some budgets (``scorezoo tune``).
Nothing in it is code, so loading one runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from safetensors.torch import save_file
from torch import Tensor, nn

import sdesolve as ss

from .data import read_tensors, write_atomically
from .networks import NETWORKS
from .preconditioning import precondition

__all__ = ["ScoreModel", "load", "pretrained_names", "save_reference"]

_PROCESSES = {
    kind.__name__: kind for kind in (ss.VPSDE, ss.SubVPSDE, ss.VESDE, ss.ExponentialVESDE, ss.EDM)
}

_FILES = ("config.json", "model.safetensors", "reference.safetensors", "tuned-*.pt")


def _build(kinds: dict[str, Any], config: dict[str, Any], what: str) -> Any:  # noqa: ANN401
    arguments = dict(config)
    name = arguments.pop("name", None)
    if name not in kinds:
        raise ValueError(f"unknown {what} {name!r}; known are {', '.join(sorted(kinds))}")
    return kinds[name](**arguments)


class ScoreModel(nn.Module, PyTorchModelHubMixin):
    """A score network with its process.

    Args:
        network: ``{"name": ..., **arguments}`` of a network in ``scorezoo.networks``.
        process: ``{"name": ..., **arguments}`` of a process in ``sdesolve``.
        shape: Event shape, ``(channels, height, width)`` or, for toy densities, ``(2,)``.
        data_range: The values that pixel 0 and pixel 255 have in the data.
        preconditioning: ``{"name": ..., "sigma_data": ...}``: what the network's raw output means,
            see :func:`scorezoo.preconditioning.precondition`; the noise by default.

    Raises:
        ValueError: If a name is not known.
    """

    def __init__(
        self,
        network: dict[str, Any],
        process: dict[str, Any],
        shape: Sequence[int],
        data_range: Sequence[float] = (0.0, 1.0),
        preconditioning: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = _build(NETWORKS, network, "network")
        self.process: ss.Process = _build(_PROCESSES, process, "process")
        self.shape = tuple(shape)
        self.data_range = (float(data_range[0]), float(data_range[1]))
        self.preconditioning = dict(preconditioning or {"name": "noise"})
        precondition(self.network, self.process, **self._kind)  # complains here, not at use
        self.classes = int(network.get("classes", 0))
        self.reference: ss.Reference | None = None
        """What is known of the data; solvers that nobody chose use it."""
        self.tuned: dict[int, ss.Tuned] = {}
        """Solvers fitted to this model, by budget; sampling without a solver uses them."""

    @property
    def _kind(self) -> dict[str, Any]:
        arguments = dict(self.preconditioning)
        return {"kind": arguments.pop("name", ""), **arguments}

    @property
    def score(self) -> ss.scores.Score:
        """Score: callable ``(x, t, **cond) -> like x``."""
        # Made when asked for: kept, it would hold on to the network of which a copy was made.
        score = precondition(self.network, self.process, **self._kind)
        vars(score).update(reference=self.reference, tuned=self.tuned)
        return score

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Score at ``x``, ``(batch, *shape)``, and times ``t``, ``(batch,)``.

        A network with classes takes ``label``, ``(batch,)`` int64, -1 where there is none; without
        it the score is the unconditional one.
        """
        return self.score(x, t, **cond)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def to_pixels(self, x: Tensor) -> Tensor:
        """Data to bytes, ``(batch, *shape)`` uint8; values outside the range are clamped."""
        low, high = self.data_range
        return ((x - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)


def save_reference(path: Path, reference: ss.SpectralReference | ss.GaussianReference) -> None:
    """Write what is known of a model's data beside its weights: spectrum or principal variances."""
    if isinstance(reference, ss.SpectralReference):
        tensors = {"mean": reference.mean, "spectrum": reference.spectrum}
    else:
        assert reference.mean is not None
        *own, rest = reference.variances[:, 0].unbind()
        tensors = {
            "mean": reference.mean,
            "directions": reference.directions,
            "variances": torch.stack(own),
            "rest": rest,
        }
    # Directions are orthonormal to more than single precision tells.
    kept = torch.float32 if "spectrum" in tensors else torch.float64
    tensors = {name: tensor.to(kept).contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary))


def _load_reference(path: Path) -> ss.Reference:
    tensors = read_tensors(path)
    if "spectrum" in tensors:
        return ss.SpectralReference(tensors["mean"], tensors["spectrum"])
    rest = tensors.pop("rest").item()
    return ss.GaussianReference(**tensors, rest=rest)


def pretrained_folder() -> Path:
    """Folder of the models that ship with the package."""
    return Path(str(resources.files("scorezoo"))) / "pretrained"


def pretrained_names() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in pretrained_folder().glob("*/config.json"))


def load(name: str | Path, *, device: torch.device | str = "cpu") -> ScoreModel:
    """Load a trained model, ready to sample.

    Args:
        name: A name that ships with the package, a folder, or a Hub id ``owner/name``.
        device: Where to put the weights.

    Raises:
        ValueError: If there is no such model.
    """
    shipped = pretrained_folder() / str(name)
    source = shipped if str(name) in pretrained_names() else Path(name)
    is_hub_id = str(name).count("/") == 1 and not source.exists()
    if not is_hub_id and not (source / "config.json").exists():
        raise ValueError(
            f"no model {str(name)!r}; these ship with the package: "
            f"{', '.join(pretrained_names()) or 'none'}. A folder with config.json and "
            "model.safetensors or a Hub id owner/name will do too"
        )
    if is_hub_id:
        source = Path(snapshot_download(str(name), allow_patterns=list(_FILES)))
    model = ScoreModel(**json.loads((source / "config.json").read_text()))
    model.load_state_dict(read_tensors(source / "model.safetensors"))
    if (source / "reference.safetensors").exists():
        model.reference = _load_reference(source / "reference.safetensors")
    for file in source.glob("tuned-*.pt"):
        model.tuned[int(file.stem.removeprefix("tuned-"))] = ss.Tuned.load(file)
    return model.to(device).eval().requires_grad_(False)
