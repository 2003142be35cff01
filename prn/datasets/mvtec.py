"""MVTec AD's layout: <category>/{train/good,test/<type>,ground_truth/<type>}, mask <stem>_mask.png, no folder above.

Source: https://www.mvtec.com/company/research/datasets/mvtec-ad and the tree of its archive.
"""

from pathlib import Path

from prn.datasets.layout import Entry, defects, find_folder, folders_in, normals
from prn.errors import DataMissing

ENDINGS = ("_mask",)


def list_images(root: Path, category: str, complete: bool, endings: tuple[str, ...] = ENDINGS) -> list[Entry]:
    """The entries of one category. Errors: DataMissing, DataCorrupt."""
    expected = f"{category}/train/good, {category}/test/<type> and {category}/ground_truth/<type>"
    base = find_folder(root, [category, f"mvtec_anomaly_detection/{category}"], "train/good", expected)
    entries = normals(root, f"{base}/train/good", "train")
    if not entries:
        raise DataMissing(f"{root / base}/train/good: holds no image; expected {expected}")
    kinds = folders_in(root / base / "test")
    if not kinds:
        raise DataMissing(f"{root / base}/test: holds no folder; expected {expected}")
    for kind in kinds:
        if kind == "good":
            entries += normals(root, f"{base}/test/good", "test")
        else:
            masks = f"{base}/ground_truth/{kind}"
            entries += defects(root, f"{base}/test/{kind}", masks, kind=kind, endings=endings, complete=complete)
    return entries
