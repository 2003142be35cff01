"""Pixels: decode images to RGB and masks to True and False, bring both to one working size, cache a category.

Shapes: N images, S working size, H and W as decoded; images are uint8 RGB in [0, 255], masks 0 or 1 with 1 = defect.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from prn.datasets.capacity import check_memory
from prn.datasets.dtd import texture_files
from prn.datasets.progress import tracked
from prn.devices import given_cores
from prn.errors import DataCorrupt, DataMissing
from prn.provenance.files import atomic_write

if TYPE_CHECKING:
    from prn.datasets.rows import IndexRow

FORMAT = "prn-category-tensors-1"
TEXTURE_FORMAT = "prn-textures-2"

# The end marks without which a decoder of an older OpenCV fills the rest of the picture with grey and says nothing.
_END_MARKS = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8\xff": b"\xff\xd9"}


def cores() -> int:
    """The processor cores that this process may use: those it was given by `OMP_NUM_THREADS`, else the machine's."""
    given = given_cores()
    if given is not None:
        return given
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """A file's bytes; DataMissing where it is not there or may not be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataMissing(f"{path}: cannot be read ({error.strerror or error}); is the data set complete?") from error


def decode(data: bytes, path: str | os.PathLike[str], flags: int) -> NDArray:
    """Decode bytes with OpenCV; EXIF rotation applied, alpha dropped. DataCorrupt names `path`."""
    for magic, mark in _END_MARKS.items():
        if data.startswith(magic) and mark not in data[-65536:]:
            raise DataCorrupt(f"{path}: the image is cut off ({len(data)} bytes, no end mark); restore or remove it")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise DataCorrupt(f"{path}: not a readable image ({len(data)} bytes); restore or remove it")
    return image


def image_from_bytes(data: bytes, path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Decode bytes as `read_image` does; `path` is named in the error."""
    return decode(data, path, cv2.IMREAD_COLOR_RGB)


def mask_from_bytes(data: bytes, path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """Decode bytes as `read_mask` does; `path` is named in the error."""
    mask = decode(data, path, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if mask.ndim == 3:
        mask = mask.max(axis=2)
    return mask > mask.max() / 2


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """One image as uint8 H x W x 3, RGB in [0, 255].

    Grey is replicated over the channels, alpha dropped, 16 bits scaled to 8, EXIF rotation applied.
    Errors: DataMissing (no such file), DataCorrupt (does not decode, or is cut off); both name the file.
    """
    return image_from_bytes(read_bytes(path), path)


def read_mask(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """One ground-truth mask as bool H x W, True = defect: above half of the mask's own maximum.

    So masks written as 0/1, 0/255, 0/65535 or with grey borders all come out binary; an all-zero mask is all False.
    Errors as `read_image`.
    """
    return mask_from_bytes(read_bytes(path), path)


def resize_image(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Straight to uint8 size x size x 3, no crop: an axis is averaged over area to shrink, interpolated to grow."""
    height, width = image.shape[:2]
    resized: NDArray = image
    if height > size or width > size:
        resized = cv2.resize(resized, (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
    if resized.shape[:2] != (size, size):
        resized = cv2.resize(resized, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized)


def _overlap(length: int, size: int, first: int = 0, last: int | None = None) -> NDArray[np.float64]:
    """The share of each output cell that input cells first..last of `length` cover: size x (last - first)."""
    edges = np.arange(size + 1) * (length / size)
    cells = np.arange(first, length if last is None else last)
    covered = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return np.clip(covered, 0, None) * (size / length)


def resize_mask(mask: NDArray[np.bool_], size: int) -> tuple[NDArray[np.bool_], int]:
    """A mask at size x size, and how many of its regions vanished in shrinking.

    A cell is defect where at least half of its area is. An 8-connected region that would be left without any cell keeps
    the one it covers most (the first in reading order among equals) and is counted (reference facts, section 8.20).
    """
    height, width = mask.shape
    if height >= size and width >= size:
        coverage = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    else:
        coverage = (_overlap(height, size) @ mask @ _overlap(width, size).T).astype(np.float32)
    small = coverage >= 0.5 - 1e-6
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    rows = (np.arange(height) * 2 + 1) * size // (2 * height)
    columns = (np.arange(width) * 2 + 1) * size // (2 * width)
    alive = np.zeros(len(stats), bool)
    alive[labels[small[np.ix_(rows, columns)]]] = True
    alive[0] = True
    lost, kept = 0, small.copy()
    for label in np.flatnonzero(~alive):
        x, y, w, h = stats[label, :4]
        region = labels[y : y + h, x : x + w] == label
        own = _overlap(height, size, y, y + h) @ region @ _overlap(width, size, x, x + w).T
        if small[own > 0].any():
            continue
        kept[np.unravel_index(np.argmax(own), own.shape)] = True
        lost += 1
    return kept, lost


@dataclass
class CategoryTensors:
    """The images of one category at the working size, in the order of the index.

    images: uint8 [N, S, S, 3] RGB; masks: uint8 [N, S, S], 0 or 1; paths: N paths as in the index;
    has_mask: bool [N], whether masks[i] is the truth: a normal image (all zero) or a defect whose mask exists, False
    only for a defect without a mask; lost_regions: int64 [N], defect regions kept by one pixel only;
    source: hex digest of what the cache was made from (see `source_digest`).
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    paths: list[str]
    has_mask: NDArray[np.bool_]
    lost_regions: NDArray[np.int64]
    source: str

    @property
    def size(self) -> int:
        """The working size S."""
        return self.images.shape[1]

    def index_of(self, paths: Iterable[str]) -> NDArray[np.int64]:
        """The positions of `paths`, in their order; DataMissing names a path that is not in the cache."""
        position = {path: i for i, path in enumerate(self.paths)}
        try:
            return np.array([position[path] for path in paths], dtype=np.int64)
        except KeyError as error:
            raise DataMissing(
                f"{error.args[0]}: not among the {len(self.paths)} images of the tensor cache; make the cache again"
            ) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file, whole or not at all."""
        arrays: dict[str, NDArray] = {
            "images": self.images,
            "masks": self.masks,
            "has_mask": self.has_mask.astype(np.uint8),
            "lost_regions": self.lost_regions,
        }
        _save(arrays, path, {"format": FORMAT, "source": self.source, "paths": self.paths})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "CategoryTensors":
        """Read what `save` wrote. Errors: DataMissing (no file), DataCorrupt (cut off, or another kind of file)."""
        arrays, metadata = _load(path, FORMAT)
        return cls(
            images=arrays["images"],
            masks=arrays["masks"],
            paths=metadata["paths"],
            has_mask=arrays["has_mask"].astype(bool),
            lost_regions=arrays["lost_regions"],
            source=metadata["source"],
        )


def source_digest(rows: Sequence["IndexRow"], size: int) -> str:
    """Hex sha256 over all that the tensors depend on: format, size, paths and hashes of images and masks."""
    facts = [FORMAT, size, [[row.path, row.sha256, row.label, row.mask, row.mask_sha256] for row in rows]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def build_tensors(
    rows: Sequence["IndexRow"], root: str | os.PathLike[str], size: int, workers: int | None = None
) -> CategoryTensors:
    """Decode and shrink every image and mask of `rows` (paths relative to `root`, or to the folder of a CSV `root`).

    Masks are binarised at full resolution, then shrunk. `workers` threads (default: one a core); the result does not
    depend on their number. Errors: PrnError (not enough memory, known before the start), DataMissing, DataCorrupt (a
    file does not decode, or is not the one that was indexed).
    """
    folder = Path(root).parent if Path(root).is_file() else Path(root)
    count = len(rows)
    check_memory(category_bytes(count, size), f"{count} images of {size}x{size}")
    images = np.empty((count, size, size, 3), np.uint8)
    masks = np.zeros((count, size, size), np.uint8)
    lost = np.zeros(count, np.int64)

    def fill(i: int) -> None:
        row = rows[i]
        images[i] = resize_image(image_from_bytes(_indexed(folder / row.path, row.sha256), folder / row.path), size)
        if row.mask:
            mask = mask_from_bytes(_indexed(folder / row.mask, row.mask_sha256), folder / row.mask)
            masks[i], lost[i] = resize_mask(mask, size)

    with ThreadPoolExecutor(workers or cores()) as pool:
        list(tracked(pool.map(fill, range(count)), f"tensors at {size}x{size}", count))
    has_mask = np.array([row.label == 0 or bool(row.mask) for row in rows], dtype=bool)
    return CategoryTensors(images, masks, [row.path for row in rows], has_mask, lost, source_digest(rows, size))


def _indexed(path: Path, expected: str) -> bytes:
    """The bytes of a file that must be the one that was indexed."""
    data = read_bytes(path)
    found = hashlib.sha256(data).hexdigest()
    if expected and found != expected:
        raise DataCorrupt(
            f"{path}: changed since it was indexed (sha256 {found}, index says {expected}); "
            "restore the file or build the index again"
        )
    return data


@dataclass(frozen=True)
class TextureTensors:
    """Textures at the working size: uint8 [T, S, S, 3] RGB, and their T paths below the texture folder.

    source: hex digest of what they were made from, as that of `CategoryTensors`.
    """

    textures: NDArray[np.uint8]
    paths: list[str]
    source: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file, whole or not at all."""
        _save({"textures": self.textures}, path, {"format": TEXTURE_FORMAT, "paths": self.paths, "source": self.source})


def texture_tensors(root: str | os.PathLike[str], size: int, workers: int | None = None) -> TextureTensors:
    """Every texture below `root`, ordered as `texture_files`. Errors as `build_tensors`."""
    files = texture_files(root)
    check_memory(texture_bytes(len(files), size), f"{len(files)} textures of {size}x{size}")
    textures = np.empty((len(files), size, size, 3), np.uint8)

    def fill(i: int) -> str:
        data = read_bytes(files[i])
        textures[i] = resize_image(image_from_bytes(data, files[i]), size)
        return hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(workers or cores()) as pool:
        hashes = list(tracked(pool.map(fill, range(len(files))), f"textures at {size}x{size}", len(files)))
    paths = [file.relative_to(root).as_posix() for file in files]
    facts = [TEXTURE_FORMAT, size, list(zip(paths, hashes, strict=True))]
    return TextureTensors(textures, paths, hashlib.sha256(json.dumps(facts).encode()).hexdigest())


def load_textures(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The textures of a saved `TextureTensors`: uint8 [T, S, S, 3]. Errors: DataMissing, DataCorrupt."""
    return _load(path, TEXTURE_FORMAT)[0]["textures"]


def texture_bytes(count: int, size: int) -> int:
    """Bytes of so many textures at a working size, in memory or on disk."""
    return count * size * size * 3


def category_bytes(count: int, size: int) -> int:
    """Bytes of so many images and masks at a working size, in memory or on disk."""
    return count * size * size * 4


def _save(arrays: dict[str, NDArray], path: str | os.PathLike[str], metadata: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    # one key only: the library writes several in an order that changes from run to run
    record = {"prn": json.dumps(metadata, sort_keys=True)}
    with atomic_write(path) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary, metadata=record)


def _load(path: str | os.PathLike[str], expected: str) -> tuple[dict[str, NDArray], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise DataMissing(f"{path}: no such file; run the stage that makes it")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get("prn", "{}"))
            if metadata.get("format") != expected:
                raise DataCorrupt(
                    f"{path}: its format is {metadata.get('format')!r}, expected {expected!r}; delete it and run again"
                )
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise DataCorrupt(f"{path}: damaged ({error}); delete it and run again") from error
