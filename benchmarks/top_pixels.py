r"""Does the number of highest pixels that an image's score averages explain the image AUROC? From stored score maps.

The paper averages the highest 100 of 256x256 pixels; at a smaller size 100 pixels are a larger share. It looks at test
images after the fact and chooses nothing: `predict.top_pixels` follows from the size alone.

    python benchmarks/top_pixels.py --root runs/real-cpu --category bottle pill
"""

import argparse
from pathlib import Path

import numpy as np

from prn import layout
from prn.datasets.rows import read_index
from prn.metrics import image_auroc
from prn.predictions import Predictions, load_predictions

TOPS = (1, 6, 25, 100, 400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="work folder with predictions")
    parser.add_argument("--category", nargs="+", required=True)
    parser.add_argument("--dataset", default="mvtec")
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    print(f"| Category | Variant | {' | '.join(f'top {top}' for top in TOPS)} |\n| :-- | :-- |{' --: |' * len(TOPS)}")
    for category in arguments.category:
        cell = {"dataset": arguments.dataset, "category": category, "seed": arguments.seed}
        rows = read_index(arguments.root / layout.INDEX.format(**cell))
        label_of = {row.path: row.label for row in rows}
        files = (arguments.root / layout.PREDICTIONS.format(**cell, variant="*")).as_posix()
        for file in sorted(Path().glob(files)):
            found = load_predictions(file)
            labels = np.array([label_of[path] for path in found.paths])
            cells = (f"{100 * value:.1f}" for value in aurocs(found, labels))
            print(f"| {category} | `{file.parent.name}` | {' | '.join(cells)} |", flush=True)


def aurocs(found: Predictions, labels: np.ndarray) -> list[float]:
    """The image AUROC at each of `TOPS`."""
    pixels = np.sort(found.score_maps.reshape(len(labels), -1).astype(np.float32), axis=1)[:, ::-1]
    values = (image_auroc(pixels[:, :top].mean(axis=1), labels) for top in TOPS)
    return [float("nan") if value is None else value for value in values]


if __name__ == "__main__":
    main()
