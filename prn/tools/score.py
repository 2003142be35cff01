"""`predict --images`: a folder of a user's own images through a trained model, outside the benchmark."""

import csv
from pathlib import Path

import cv2
import numpy as np
from matplotlib.colors import Normalize

from prn.datasets.images import read_image, resize_image
from prn.datasets.layout import IMAGE_SUFFIXES
from prn.errors import DataMissing, SettingsError
from prn.inference import predict
from prn.predictions import save_predictions
from prn.provenance.files import atomic_write
from prn.reporting.mosaic import overlay
from prn.stages.fitted import fitted_method
from prn.stages.job import Job

SCORES, MAPS = "scores.csv", "score_maps.npz"


def run(job: Job, images: Path, out: Path, overlays: bool = False) -> None:
    """Write `scores.csv` (highest first), `score_maps.npz` and, when asked, an overlay for each image into `out`.

    The archive holds `score_maps` (float16, N x S x S, the working size S), `image_scores` (N) and `paths` (N, in the
    same order, relative to `images`).
    Raises `DataMissing` for an empty folder or a missing checkpoint, `DataCorrupt` for a file that cannot be decoded,
    `SettingsError` where `out` lies in `images`.
    """
    names = image_names(images)
    if out.resolve().is_relative_to(images.resolve()):
        raise SettingsError(f"--out {out}: lies in the folder of the images; name one outside of it")
    method, _ = fitted_method(job)
    size, batch_size = job.settings.tensors.size, job.settings.predict.batch_size
    parts = []
    for start in range(0, len(names), batch_size):
        batch = np.stack([resize_image(read_image(images / name), size) for name in names[start : start + batch_size]])
        parts.append(predict(method, batch, batch_size, f"{job.label} seed {job.seed}"))
    maps, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    out.mkdir(parents=True, exist_ok=True)
    save_predictions(out / MAPS, maps, scores, names)
    if overlays:
        _draw(images, names, maps, out / "overlays", size)
    # Last, so that a table that is there belongs to whole results.
    with atomic_write(out / SCORES) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "score"])
        writer.writerows((names[index], repr(float(scores[index]))) for index in np.argsort(-scores, kind="stable"))
    print(f"{out}: {len(names)} images scored by {job.label} seed {job.seed}; the most anomalous first in {SCORES}")


def image_names(folder: Path) -> list[str]:
    """The images below a folder by their POSIX paths in it, sorted; raises `DataMissing` where there are none."""
    if not folder.is_dir():
        raise DataMissing(f"--images {folder}: no such folder")
    found = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    if not found:
        raise DataMissing(f"--images {folder}: holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return sorted(found)


def _draw(images: Path, names: list[str], maps: np.ndarray, folder: Path, size: int) -> None:
    """Each image at the working size under its score map; one colour scale, from the median pixel to the highest."""
    low, high = float(np.median(maps)), float(maps.max())
    scale = Normalize(low, high if high > low else low + 1.0, clip=True)
    for name, score_map in zip(names, maps, strict=True):
        picture = overlay(resize_image(read_image(images / name), size), score_map, scale)
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
