"""A folder of images by class and of one size, from a data set of the Hub or of this machine.

    python -m benchmarks.image_folder uoft-cs/cifar10 photos

Four classes of CIFAR-10, enlarged to 64x64 by Lanczos' filter: what docs/own-images.md trains on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main", "write"]

CLASSES = ("airplane", "automobile", "horse", "ship")


def write(data: str, folder: Path, classes: Sequence[str], size: int, count: int) -> None:
    """Write train/CLASS/NUMBER.png and test/CLASS/NUMBER.png.

    Args:
        data: Hub id or folder with a column of images and one of class labels.
        folder: Where to.
        classes: Names of the classes.
        size: Pixels a side.
        count: Images of a class and split, at most; the first ones.
    """
    import datasets
    from PIL import Image

    for split in ("train", "test"):
        table = datasets.load_dataset(data, split=split)
        columns = {type(kind).__name__: name for name, kind in table.features.items()}
        names = table.features[columns["ClassLabel"]].names
        left = dict.fromkeys(classes, count)
        for number, row in enumerate(table):
            name = names[row[columns["ClassLabel"]]]
            if left.get(name, 0) == 0:
                continue
            left[name] -= 1
            path = folder / split / name / f"{number:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = row[columns["Image"]].resize((size, size), Image.Resampling.LANCZOS)
            image.save(path)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="Hub id or folder of a data set, as uoft-cs/cifar10.")
    parser.add_argument("folder", type=Path, help="Folder to write.")
    parser.add_argument("--classes", nargs="+", default=CLASSES, help="Names of the classes.")
    parser.add_argument("--size", type=int, default=64, help="Pixels a side.")
    parser.add_argument("--count", type=int, default=5000, help="Images of a class and split.")
    options = parser.parse_args(argv)
    write(options.data, options.folder, options.classes, options.size, options.count)
    print(f"wrote {options.folder}")


if __name__ == "__main__":
    main()
