"""List KolektorSDD (v1) as a CSV of one's own data set, to run the benchmark on it.

    python benchmarks/kolektorsdd.py ../shared/real/kolektorsdd runs/real-more/kolektorsdd.csv

The data set has 50 items (folders `kosNN`) of 8 photographs, each with a label image, and no division into training and
test. Here the good images of items 1 to 33 are for training, those of the others and all defective ones for the test;
the split then takes the seen defects out of the test. Items are not shared between the two sides' good images.
"""

import argparse
import csv
import os
from pathlib import Path

import cv2

CATEGORY = "commutator"
TRAIN_ITEMS = 33


def main() -> None:
    """Write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with the folders kos01 to kos50")
    parser.add_argument("out", type=Path, help="the CSV to write")
    arguments = parser.parse_args()
    rows = list_images(arguments.folder, arguments.out.parent)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([["image", "category", "split", "type", "mask"], *rows])
    kinds = [(row[2], row[3]) for row in rows]
    print(f"{arguments.out}: " + ", ".join(f"{kinds.count(kind)} {' '.join(kind)}" for kind in sorted(set(kinds))))


def list_images(folder: Path, base: Path) -> list[list[str]]:
    """The CSV's rows, with paths relative to `base`."""
    rows = []
    for image in sorted(folder.glob("kos*/Part*.jpg")):
        label = image.with_name(f"{image.stem}_label.png")
        pixels = cv2.imread(str(label), cv2.IMREAD_GRAYSCALE)
        if pixels is None:
            raise SystemExit(f"{label}: missing or not an image")
        defective = bool(pixels.any())
        train = not defective and int(image.parent.name.removeprefix("kos")) <= TRAIN_ITEMS
        names = [os.path.relpath(image, base), CATEGORY, "train" if train else "test"]
        rows.append([*names, "defect", os.path.relpath(label, base)] if defective else [*names, "good", ""])
    if not rows:
        raise SystemExit(f"{folder}: no images named kosNN/PartN.jpg")
    return rows


if __name__ == "__main__":
    main()
