"""MVTec AD's layout: <category>/{train/good,test/<type>,ground_truth/<type>}, mask <stem>_mask.png, no folder above.

Source: https://www.mvtec.com/company/research/datasets/mvtec-ad and the tree of its archive.
"""

from pathlib import Path

from prn.datasets.folder import from_tree
from prn.datasets.layout import Listing, find_folder, folders_in, normals
from prn.datasets.matching import defects
from prn.errors import DataMissing

TOP = "mvtec_anomaly_detection"


def list_images(root: Path, category: str, complete: bool) -> Listing:
    """The entries of one category; a tree that is no archive's is listed as a user's own. Errors: DataMissing,
    DataCorrupt.
    """
    if not complete:
        return from_tree(root, category, ("", TOP))
    expected = f"{category}/train/good, {category}/test/<type> and {category}/ground_truth/<type>"
    base = find_folder(root, [category, f"{TOP}/{category}"], "train/good", expected)
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
            entries += defects(root, f"{base}/test/{kind}", f"{base}/ground_truth/{kind}", kind, complete).entries
    return Listing(entries)
