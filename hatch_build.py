"""The extra ``zoo`` asks for the weights where they are: in a clone by folder, elsewhere by name.

In a clone, whose folder ``packaging/weights`` makes the distribution ``scorezoo-weights``, ``zoo``
asks for that folder, so that ``pip install '.[zoo]'`` needs no index that has them. A folder means
nothing on another machine: an sdist, and so the wheel that ``python -m build`` makes of it, asks
for the same version by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

__all__ = ["Extras", "ForOtherMachines"]

WEIGHTS = "scorezoo-weights"


class Extras(MetadataHookInterface):
    """Fill the extras in from ``tool.hatch.metadata.hooks.custom.extras``, and the weights."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Change the metadata of the project, in place. An unpacked sdist brings its own."""
        extras = {name: list(needs) for name, needs in self.config["extras"].items()}
        folder = Path(self.root) / "packaging" / "weights"
        extras["zoo"].append(f"{WEIGHTS} @ {folder.as_uri()}")
        metadata["optional-dependencies"] = extras


class ForOtherMachines(BuildHookInterface):
    """Replace the folder of the weights by their name and version, in an sdist."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Change the extras of the sdist, in place; ``version`` and ``build_data`` stay."""
        named = f"{WEIGHTS}=={self.metadata.version}"
        for needs in self.metadata.core.optional_dependencies.values():
            needs[:] = [named if need.startswith(f"{WEIGHTS} @") else need for need in needs]
