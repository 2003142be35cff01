"""Small archives in the five published layouts, and a user's own folder and CSV: data of the demo.

All are made from photographs that scikit-image ships.

The same pixels on every machine: fixed seeds of `RandomState`, float64 arithmetic, lossless files
(DTD's are JPEG, as published).
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from prn.provenance.files import atomic_write, sha256_file
from prn.tools.miniature.archives import write_folder, write_tar, write_zip
from prn.tools.miniature.trees import (
    btad_files,
    dagm_files,
    dtd_files,
    garden_files,
    ksdd2_files,
    mvtec_files,
)

ARCHIVES = {
    "mvtec": ("mvtec_anomaly_detection.tar.xz", mvtec_files),
    "dagm": ("Class1.zip", dagm_files),
    "btad": ("btad.zip", btad_files),
    "ksdd2": ("KolektorSDD2.zip", ksdd2_files),
    "dtd": ("dtd-r1.0.1.tar.gz", dtd_files),
}
OWN = "garden"


def build_miniatures(folder: str | Path) -> dict[str, list[Path]]:
    """Write the five archives, the folder `garden` and `SHA256SUMS` (sha256sum's format); returns data set -> files.

    `garden` is a data set as a user has it: a category in a folder of its own, and `images.csv`, which lists the same.

    Raises DataMissing or DataCorrupt when the installed scikit-image does not ship the pinned photographs.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    # Fresh processes: OpenCV's threads do not survive a fork.
    with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=get_context("spawn")) as pool:
        found = pool.map(_build, [target] * (1 + len(ARCHIVES)), (*ARCHIVES, OWN))
        written = dict(zip((*ARCHIVES, OWN), found, strict=True))
    every = [path for paths in written.values() for path in paths]
    lines = sorted((path.relative_to(target).as_posix(), sha256_file(path)) for path in every)
    with atomic_write(target / "SHA256SUMS") as temporary:
        temporary.write_text("".join(f"{digest}  {name}\n" for name, digest in lines), encoding="utf-8")
    return written


def _build(target: Path, dataset: str) -> list[Path]:
    """Write one data set's archive, or the user's own folder; returns its files."""
    if dataset == OWN:
        own = garden_files()
        write_folder(own, target / OWN)
        return [target / OWN / name for name in own]
    name, files = ARCHIVES[dataset]
    path = target / name
    (write_zip if path.suffix == ".zip" else write_tar)(files(), path)
    return [path]
