"""A trained score: a network, the process it was trained under, and how its data look.

A model is a folder with ``config.json`` and ``model.safetensors``, and, once it was tuned, the
spectrum or principal variances of its data and solvers for some budgets (``scorezoo tune``).
Nothing in it is code, so loading one runs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from torch import Tensor, nn

import sdesolve as ss
from sdesolve.checks import check_device, check_tensor

from .arguments import build, check_integer, check_number, refuse_unknown
from .card import model_card
from .checksums import recorded
from .files import read_tensors, refuse_non_finite, write_tensors
from .folders import (
    find_model,
    guided_budgets,
    pretrained_folder,
    pretrained_names,
    read_config,
    tuned_budgets,
)
from .networks import build_network
from .preconditioning import precondition

__all__ = [
    "PROCESSES",
    "ScoreModel",
    "load",
    "pretrained_folder",
    "pretrained_names",
    "save_reference",
]

PROCESSES = {
    kind.__name__: kind for kind in (ss.VPSDE, ss.SubVPSDE, ss.VESDE, ss.ExponentialVESDE, ss.EDM)
}


_KEYS = (
    "network",
    "process",
    "shape",
    "data_range",
    "preconditioning",
    "class_names",
)


class ScoreModel(nn.Module, PyTorchModelHubMixin):
    """A score network with its process.

    Args:
        network: ``{"name": ..., **arguments}`` of a network in ``scorezoo.networks``.
        process: ``{"name": ..., **arguments}`` of a process in ``sdesolve``.
        shape: Event shape, ``(channels, height, width)`` or, for toy densities, ``(2,)``.
        data_range: The values that pixel 0 and pixel 255 have in the data.
        preconditioning: ``{"name": ..., "sigma_data": ...}``: what the network's raw output means,
            see :func:`scorezoo.preconditioning.precondition`; the noise by default.
        class_names: Names of the labels, in their order.

    Raises:
        ValueError: If a name or an argument is not known or out of range, or the network cannot
            take data of this shape.
    """

    def __init__(
        self,
        network: dict[str, Any],
        process: dict[str, Any],
        shape: Sequence[int],
        data_range: Sequence[float] = (0.0, 1.0),
        preconditioning: dict[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.shape = _shape(shape)
        self.data_range = _range(data_range)
        self.process: ss.Process = build(PROCESSES, process, "process")
        self.network = build_network(network, self.shape)
        if not isinstance(preconditioning, (dict, type(None))):
            raise ValueError(
                f'preconditioning is a table such as {{"name": "edm"}}, got {preconditioning!r}'
            )
        self.preconditioning = dict(preconditioning or {"name": "noise"})
        refuse_unknown("preconditioning", self.preconditioning, ("name", "sigma_data"))
        precondition(self.network, self.process, **self._kind)  # raises here, not at use
        self.classes = int(network.get("classes", 0))
        self.class_names = _names(class_names)
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"{self.classes} classes have {len(self.class_names)} names")
        self.reference: ss.Reference | None = None
        """What is known of the data; solvers that nobody chose use it."""
        self.tuned: dict[int, ss.Tuned] = {}
        """Solvers fitted to this model, by budget; sampling without a solver uses them."""
        self.tuned_guided: dict[tuple[float, float], dict[int, ss.Tuned]] = {}
        """Solvers fitted to guidance weights from low to high, by budget; see :meth:`guided`."""
        self.recipe: dict[str, Any] | None = None
        """What it was trained with, for the model card."""
        self.figures: dict[str, float] | None = None
        """What its samples looked like at the end of the training, for the model card."""

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

    def guided(self, weight: float) -> ss.scores.Score:
        """Score that follows its labels with a weight, and the solvers fitted to such weights.

        Args:
            weight: As in :func:`sdesolve.conditional.classifier_free_guidance`; 1 is plain
                conditional sampling.

        Returns:
            Callable ``(x, t, label=...)``. ``ss.sample`` without a solver takes the one that was
            fitted to the narrowest range of weights which holds this one, at the budget.

        Raises:
            ValueError: If the network was trained without classes, or the weight is no number.
        """
        if not self.classes:
            raise ValueError("a network without classes has no labels to guide by")
        check_number("weight", weight)
        score = ss.conditional.classifier_free_guidance(self.score, weight)
        widest = sorted(self.tuned_guided, key=lambda ends: ends[0] - ends[1])
        fitted: dict[int, ss.Tuned] = {}
        for low, high in widest:
            if low <= weight <= high:
                fitted |= self.tuned_guided[low, high]
        vars(score).update(tuned=fitted)
        return score

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Score at ``x``, ``(batch, *shape)``, and times ``t``, ``(batch,)``.

        A network with classes takes ``label``, ``(batch,)`` int64, -1 where there is none; without
        it the score is the unconditional one.
        """
        check_tensor("x", x, event=self.shape)
        check_tensor("t", t)
        if t.shape != x.shape[:1]:
            raise ValueError(f"t is one time for each sample, ({len(x)},), got {tuple(t.shape)}")
        if x.dtype != next(self.parameters()).dtype or t.dtype != x.dtype:
            raise TypeError(f"x and t have the precision of the weights, got {x.dtype}, {t.dtype}")
        if t.device.type == "cpu" and bool((t <= 0).any()):
            raise ValueError("the score is singular at sigma = 0: ask for it at t > 0")
        return self.score(x, t, **cond)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def to_pixels(self, x: Tensor) -> Tensor:
        """Data to bytes, ``(batch, *shape)`` uint8; values outside the range are clamped."""
        check_tensor("x", x)
        low, high = self.data_range
        return ((x - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)

    def _save_pretrained(self, save_directory: Path) -> None:
        refuse_non_finite(self.state_dict(), str(save_directory / "model.safetensors"))
        with recorded(save_directory / "model.safetensors"):
            super()._save_pretrained(save_directory)

    def generate_model_card(self, *args: object, **kwargs: object) -> ModelCard:
        """The README beside the weights: process, network, data and how to sample."""
        return ModelCard(model_card(self))


def _names(names: object) -> tuple[str, ...]:
    if names is None:
        return ()
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"class_names is a list of names, got {names!r}")
    return tuple(names)


def _shape(shape: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(shape, (list, tuple)) or not shape:
        raise ValueError(f"shape is (channels, height, width) or (dim,), got {shape!r}")
    for size in shape:
        check_integer("a size in shape", size)
    if math.prod(shape) > 2**31:
        raise ValueError(f"shape {tuple(shape)} has more than 2^31 values")
    return tuple(shape)


def _range(values: Sequence[float]) -> tuple[float, float]:
    if not isinstance(values, (list, tuple)) or len(values) != 2:
        raise ValueError(f"the data range is two numbers, (low, high), got {values!r}")
    low, high = values
    for value in values:
        check_number("an end of the data range", value)
    if not low < high:
        raise ValueError(f"the data range runs from low to high, got {low!r} to {high!r}")
    return float(low), float(high)


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
    write_tensors(path, tensors)


def _load_reference(path: Path, shape: tuple[int, ...]) -> ss.Reference:
    tensors = read_tensors(path)
    try:
        if tensors["mean"].shape != shape:
            raise ValueError(f"it is of data of shape {tuple(tensors['mean'].shape)}, not {shape}")
        if "spectrum" in tensors:
            return ss.SpectralReference(tensors["mean"], tensors["spectrum"])
        rest = tensors.pop("rest").item()
        return ss.GaussianReference(**tensors, rest=rest)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} holds no reference of this model: {error}") from error


def _check_weights(path: Path, config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Raise before memory is asked for if a configuration claims other weights than there are."""
    with torch.device("meta"):
        network = build_network(config["network"], _shape(config["shape"]))
    wanted = {f"network.{name}": value for name, value in network.state_dict().items()}
    for name in wanted.keys() | weights.keys():
        there, here = (
            f"of shape {tuple(found[name].shape)}" if name in found else "absent"
            for found in (weights, wanted)
        )
        if there != here:
            raise ValueError(
                f"{path} holds weights of another network than config.json beside it says: {name} "
                f"is {there} in the file and {here} in the network"
            )
        if not weights[name].is_floating_point() and wanted[name].is_floating_point():
            raise ValueError(f"{path}: {name} is {weights[name].dtype}, not floating")
        if not bool(weights[name].isfinite().all()):
            raise ValueError(f"{path}: {name} holds NaN or infinity")


def load(name: str | Path, *, device: torch.device | str = "cpu") -> ScoreModel:
    """Load a trained model, ready to sample.

    Args:
        name: A name that ships with the package, the folder of a model or of a run, or a Hub id
            ``owner/name``.
        device: Where to put the weights.

    Raises:
        ValueError: If there is no such model, or its files cannot be read.
    """
    device = check_device("device", device) or torch.device("cpu")
    folder = find_model(name)
    config = read_config(folder)
    refuse_unknown(f"{folder / 'config.json'}: a model", config, _KEYS)
    missing = [key for key in _KEYS[:3] if key not in config]
    if missing:
        raise ValueError(f"{folder / 'config.json'} lacks {', '.join(missing)}")
    weights = read_tensors(folder / "model.safetensors")
    try:
        _check_weights(folder / "model.safetensors", config, weights)
        model = ScoreModel(**config)
    except ValueError as error:
        raise ValueError(f"cannot load {folder}: {error}") from error
    model.load_state_dict(weights)
    if (folder / "reference.safetensors").exists():
        model.reference = _load_reference(folder / "reference.safetensors", model.shape)
    for nfe, file in tuned_budgets(folder).items():
        model.tuned[nfe] = ss.Tuned.load(file)
    for ends, files in guided_budgets(folder).items():
        model.tuned_guided[ends] = {nfe: ss.Tuned.load(file) for nfe, file in files.items()}
    return model.to(device).eval().requires_grad_(False)
