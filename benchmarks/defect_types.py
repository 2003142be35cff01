r"""Which defects are told from good images, and how high do those score? From stored image scores, by variant.

It looks at test images after the fact; it explains and chooses nothing.

    python benchmarks/defect_types.py --root runs/real-anomalies --category pill
"""

import argparse
from pathlib import Path

import numpy as np

from prn import layout
from prn.datasets.rows import read_index
from prn.metrics import image_auroc
from prn.predictions import load_predictions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="work folder with predictions")
    parser.add_argument("--category", required=True)
    parser.add_argument("--dataset", default="mvtec")
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    cell = {"dataset": arguments.dataset, "category": arguments.category, "seed": arguments.seed}
    type_of = {row.path: row.type for row in read_index(arguments.root / layout.INDEX.format(**cell))}
    for file in sorted(arguments.root.glob(layout.PREDICTIONS.format(**cell, variant="*"))):
        found = load_predictions(file)
        types = np.array([type_of[path] for path in found.paths])
        good = found.image_scores[types == "good"]
        median, most = np.quantile(good, (0.5, 0.9))
        print(f"{file.parent.name}: good images score {median:.3f}, nine tenths of them at most {most:.3f}")
        for kind in sorted(set(types) - {"good"}):
            defective = found.image_scores[types == kind]
            labels = np.repeat([0, 1], [len(good), len(defective)])
            value = image_auroc(np.concatenate([good, defective]), labels)
            text = "n/a" if value is None else f"{100 * value:.1f}"
            print(f"  {kind:<20} {len(defective):>3} images, image AUROC against the good ones {text}")


if __name__ == "__main__":
    main()
