"""BTAD's layout: BTech_Dataset_transformed/<category>/{train/ok,test/ok,test/ko,ground_truth/ko}.

Images and masks are bmp or png by category and need not share a suffix: masks match by stem. Masks are not all 0/255
and some are nearly empty. Source: https://github.com/pankajmishra000/VT-ADL and the tree of its archive.
"""

from dataclasses import replace
from pathlib import Path

from prn.datasets.layout import Listing, find_folder, normals
from prn.datasets.matching import defects
from prn.errors import DataMissing

TOP = "BTech_Dataset_transformed"


def list_images(root: Path, category: str, complete: bool) -> Listing:
    """The entries of one category. Errors: DataMissing, DataCorrupt."""
    expected = f"{category}/train/ok, {category}/test/{{ok,ko}} and {category}/ground_truth/ko (perhaps below {TOP})"
    base = find_folder(root, [category, f"{TOP}/{category}"], "train/ok", expected)
    train = normals(root, f"{base}/train/ok", "train")
    ok = normals(root, f"{base}/test/ok", "test")
    ko = defects(root, f"{base}/test/ko", f"{base}/ground_truth/ko", "ko", complete)
    for part, entries in (("train/ok", train), ("test/ko", ko.entries)):
        if not entries:
            raise DataMissing(f"{root / base}/{part}: holds no image; expected {expected}")
    return replace(ko, entries=train + ok + ko.entries)
