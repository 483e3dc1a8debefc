"""Draw the pictures of docs/gallery.md again, each by its script."""

import argparse
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ("calls_and_solvers", "guidance", "trajectories", "interpolation", "inpainting")


def main() -> None:
    """Run each script with a file of the folder as its ``--output``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=HERE.parent / "docs" / "gallery", help="folder"
    )
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCRIPTS:
        print(f"{name}:")
        sys.argv = [name, "--output", str(folder / f"{name}.png")]
        runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")


if __name__ == "__main__":
    main()
