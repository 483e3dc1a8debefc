"""A folder of images by class, of one size, from a data set of the Hub or of this machine."""

import argparse
from pathlib import Path

import datasets
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("data", help="Hub id or folder, as uoft-cs/cifar10.")
parser.add_argument("folder", type=Path, help="Folder to write: train/CLASS/NUMBER.png, test/...")
parser.add_argument("--classes", nargs="+", default=["airplane", "automobile", "horse", "ship"])
parser.add_argument("--size", type=int, default=64, help="Pixels a side, by Lanczos' filter.")
parser.add_argument("--count", type=int, default=5000, help="Images of a class and split, at most.")
args = parser.parse_args()

for split in ("train", "test"):
    table = datasets.load_dataset(args.data, split=split)
    columns = {type(kind).__name__: name for name, kind in table.features.items()}
    image, label = columns["Image"], columns["ClassLabel"]
    names = table.features[label].names
    left = dict.fromkeys(args.classes, args.count)
    for number, row in enumerate(table):
        name = names[row[label]]
        if left.get(name, 0) == 0:
            continue
        left[name] -= 1
        path = args.folder / split / name / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        row[image].resize((args.size, args.size), Image.Resampling.LANCZOS).save(path)
print(f"wrote {args.folder}")
