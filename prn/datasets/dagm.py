"""DAGM 2007's layout: <Class>/{Train,Test}/dddd.PNG with Label/Labels.txt and Label/dddd_label.PNG for the defects.

Some archives hold the class twice over (Class1/Class1). Labels.txt: a first line "1", then a line an image, separated
by tabs: index, flag (1 = defect), image, 0, label file (0 = none). Source: https://zenodo.org/records/12750201.
"""

from pathlib import Path

from prn.datasets.layout import Entry, Listing, find_folder, images_in, shown
from prn.errors import DataCorrupt, DataMissing

LABELS = "Label/Labels.txt"


def list_images(root: Path, category: str, complete: bool) -> Listing:
    """The entries of one class; Labels.txt and the files must agree. Errors: DataMissing, DataCorrupt."""
    expected = f"{category}/Train and {category}/Test, each with {LABELS}"
    base = find_folder(root, [category, f"{category}/{category}"], "Train", expected)
    entries: list[Entry] = []
    for folder, split in (("Train", "train"), ("Test", "test")):
        entries += _half(root, f"{base}/{folder}", split, expected)
    return Listing(entries)


def _half(root: Path, base: str, split: str, expected: str) -> list[Entry]:
    """The entries of Train or Test."""
    flags = _read_labels(root / base / LABELS, expected)
    names = images_in(root / base)
    if unlisted := [name for name in names if name not in flags]:
        raise DataCorrupt(f"{root / base}: {LABELS} does not know {shown(unlisted)}; extract the archive again")
    if absent := [name for name in flags if name not in set(names)]:
        raise DataCorrupt(f"{root / base}: {LABELS} lists images that are not there: {shown(absent)}; extract again")
    files = set(images_in(root / base / "Label"))
    claimed = {name: mask for name, mask in flags.items() if mask}
    if absent := [mask for mask in claimed.values() if mask not in files]:
        raise DataCorrupt(
            f"{root / base}/Label: no label image {shown(absent)} although {LABELS} says so; extract again"
        )
    if stray := sorted(files - set(claimed.values())):
        raise DataCorrupt(f"{root / base}/Label: {shown(stray)} marks an image that {LABELS} calls free of defects")
    return [
        Entry(f"{base}/{name}", split, "defect", 1, f"{base}/Label/{claimed[name]}")
        if name in claimed
        else Entry(f"{base}/{name}", split, "good", 0)
        for name in names
    ]


def _read_labels(path: Path, expected: str) -> dict[str, str]:
    """Image name -> label file, '' for an image without defect."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise DataMissing(f"{path}: cannot be read ({error.strerror}); expected {expected}") from error
    flags: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 5 or fields[1] not in ("0", "1") or fields[2] in flags:
            raise DataCorrupt(f"{path}: line {number} is {line!r}; expected index, flag 0 or 1, image, 0, label file")
        flags[fields[2]] = fields[4] if fields[1] == "1" else ""
    if not flags:
        raise DataCorrupt(f"{path}: lists no image; expected a first line 1, then a line an image")
    return flags
