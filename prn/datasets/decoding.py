"""Image files to pixels with OpenCV, and a file's own reason where that fails; Pillow reads the header only.

Shapes: H and W as decoded, with the EXIF rotation applied. Images are uint8 RGB in [0, 255].
"""

import io
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prn.datasets.capacity import free_memory
from prn.errors import DataCorrupt, DataMissing, PrnError

# Pillow decodes nothing here that OpenCV has not decoded: its own limit would only hide the size of a large image.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of damaged metadata, which nothing needs

DEPTH_AS_STORED = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
MOST_PIXELS = 2**30  # OpenCV's own limit, unless the environment says otherwise
LIMIT = "OPENCV_IO_MAX_IMAGE_PIXELS"
ORIENTATION = 0x0112  # the EXIF tag
LARGE = 2**26  # pixels from which the memory is looked at before decoding

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)  # in coded data: not a stuffed 255, not a restart
# What people store under an image's ending: first bytes, where they stand, what it is, what to do.
_OTHER_KINDS = (
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the image itself", "`git lfs pull` fetches it"),
    (0, b"<", "a text (HTML or XML), perhaps an error page", "download the image again"),
    (0, b"{", "a text (JSON)", "put the image in its place"),
    (0, b"%PDF", "a PDF", "export the image from it"),
    (0, b"8BPS", "a Photoshop file", "export it as PNG"),
    (0, b"PK\x03\x04", "a zip archive", "unpack it"),
    (4, b"ftyphe", "a HEIC picture", "convert it to PNG or JPEG"),
    (4, b"ftypmif1", "a HEIF picture", "convert it to PNG or JPEG"),
    (128, b"DICM", "a DICOM file", "convert it to PNG or TIFF"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file's header says: format and mode in Pillow's words, size as stored, EXIF orientation (1: none).

    pages: pictures of the first one's size that a TIFF, PNG or WebP holds; profile: the name of its colour profile,
    '' without one and for sRGB; lossy: whether its compression changes values.
    """

    kind: str
    mode: str
    width: int
    height: int
    orientation: int
    pages: int
    alpha: bool
    profile: str
    lossy: bool


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """A file's bytes; DataMissing where it is not there or may not be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataMissing(f"{path}: cannot be read ({error.strerror or error}); is the data set complete?") from error


def decode(data: bytes, path: str | os.PathLike[str], flags: int) -> NDArray:
    """Decode bytes with OpenCV. Errors: DataCorrupt, or PrnError where memory is short; both name `path` and why."""
    if _cut_off(data):
        raise DataCorrupt(f"{path}: the image is cut off ({len(data)} bytes, no end mark); restore or remove it")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except (cv2.error, MemoryError):
        image = None
    if image is None:
        raise _reason(data, path)
    return image


def image_from_bytes(data: bytes, path: str | os.PathLike[str], bits: int | None = None) -> NDArray[np.uint8]:
    """Decode bytes as `read_image` does; `path` is named in the error."""
    if bits in (None, 8, 16):
        return decode(data, path, cv2.IMREAD_COLOR_RGB)
    deep = decode(data, path, DEPTH_AS_STORED)
    check_depth(deep, path, bits)
    pixels = eight_bits(deep, bits)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if pixels.ndim == 2 else cv2.COLOR_BGR2RGB).astype(np.uint8)


def eight_bits(pixels: NDArray, bits: int) -> NDArray[np.uint8]:
    """The upper eight of the `bits` that are filled of a 16-bit file, as OpenCV takes them of 16; uint8 stays."""
    return pixels if pixels.dtype == np.uint8 else (pixels >> (bits - 8)).astype(np.uint8)


def check_depth(pixels: NDArray, path: str | os.PathLike[str], bits: int | None) -> None:
    """DataCorrupt for pixels of neither 8 nor 16 bits, of which black and white are not known, and for values that need
    more than the `bits` that a camera is said to fill of 16.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise _wrong_depth(path, f"{pixels.dtype} ({pixels.min():g} to {pixels.max():g})")
    if pixels.dtype == np.uint16 and bits and (top := int(pixels.max())) >= 2**bits:
        raise DataCorrupt(f"{path}: holds the value {top}, but index.image_bits: {bits} ends at {2**bits - 1}")


def _wrong_depth(path: str | os.PathLike[str], found: str) -> DataCorrupt:
    return DataCorrupt(
        f"{path}: its pixels are {found}, and which value is black or white is not known; expected 8 or 16 whole bits:"
        " convert all images in one way"
    )


def read_header(data: bytes) -> Header | None:
    """The header of an image; None where Pillow cannot read it (OpenCV may still)."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = image.format or ""
            return Header(
                kind=kind,
                mode=image.mode,
                width=image.size[0],
                height=image.size[1],
                orientation=1 if kind == "PNG" and b"eXIf" not in data else _orientation(image),
                pages=_pages(image) if kind in ("TIFF", "PNG", "WEBP", "GIF") else 1,
                alpha=image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info,
                profile=_profile(image.info.get("icc_profile")),
                lossy=_is_lossy(kind, data, image.info),
            )
    except Exception:  # Pillow raises what it likes on a damaged or unknown header
        return None


def _orientation(image: Image.Image) -> int:
    """The rotation of the EXIF tag, 1 for none. Of a PNG, where the tag may follow the pixels, it costs a decoding."""
    return int(image.getexif().get(ORIENTATION) or 1)


def palette_indices(data: bytes) -> NDArray[np.uint8]:
    """The indices H x W of an image with a palette, before colours are put in."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def _pages(image: Image.Image) -> int:
    """How many pictures a file holds; smaller ones in a TIFF are thumbnails or a pyramid, and do not count."""
    count, size = getattr(image, "n_frames", 1), image.size
    if image.format != "TIFF" or count == 1:
        return count
    sizes = []
    for number in range(count):
        image.seek(number)
        sizes.append(image.size)
    return sizes.count(size)


def _profile(profile: bytes | None) -> str:
    """The name of a colour profile, '' for none and for sRGB."""
    if not profile:
        return ""
    from PIL import ImageCms

    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError):
        name = "unreadable"
    return "" if "srgb" in name.casefold() else name


def _is_lossy(kind: str, data: bytes, info: dict) -> bool:
    """Whether the compression changes values: JPEG, also inside TIFF, and the lossy kind of WebP."""
    if kind == "WEBP":
        return b"VP8 " in data[12:256]
    return kind in ("JPEG", "MPO") or info.get("compression") == "jpeg"


def _cut_off(data: bytes) -> bool:
    """Whether a PNG or JPEG ends before its end mark; what follows the mark (a camera's own data) does not matter.

    A decoder of an older OpenCV fills the rest of such a picture with grey and says nothing.
    """
    if data.startswith(_PNG):
        return _png_ends_early(data)
    return data.startswith(_JPEG) and _jpeg_ends_early(data)


def _png_ends_early(data: bytes) -> bool:
    place = len(_PNG)
    while place + 12 <= len(data):
        if data[place + 4 : place + 8] == b"IEND":
            return False
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return True


def _jpeg_ends_early(data: bytes) -> bool:
    place = 2
    while marker := _MARKER.search(data, place):
        kind = marker.group()[1]
        if kind == 0xD9:
            return False
        # A segment (also one that holds a thumbnail with its own end mark) is skipped by its length.
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return True


def _reason(data: bytes, path: str | os.PathLike[str]) -> PrnError:
    """Why a file did not decode."""
    if not data:
        return DataCorrupt(f"{path}: the file is empty (0 bytes); restore or remove it")
    for place, start, what, remedy in _OTHER_KINDS:
        if data[place:].startswith(start):
            return DataCorrupt(f"{path}: holds {what}; {remedy}")
    head = read_header(data)
    if head is None:
        return DataCorrupt(f"{path}: not a readable image ({len(data)} bytes); restore or remove it")
    size, pixels = f"{head.width}x{head.height}", head.width * head.height
    most = int(os.environ.get(LIMIT) or MOST_PIXELS)
    if pixels > most:
        return DataCorrupt(
            f"{path}: {size} are {pixels / 1e9:.2f} gigapixels, more than the {most / 1e9:.2f} that OpenCV decodes;"
            f" cut it into tiles or reduce it (the environment variable {LIMIT} raises the limit)"
        )
    if memory := _short_of_memory(6 * pixels):
        return PrnError(f"{path}: {memory} to decode {size} pixels; the file may be whole: free memory or reduce it")
    if head.mode in ("F", "I"):
        return _wrong_depth(path, "floating-point" if head.mode == "F" else "32-bit")
    return DataCorrupt(f"{path}: a damaged {head.kind} ({size}, {len(data)} bytes); restore or remove it")


def check_memory_for(data: bytes, head: Header | None, path: str | os.PathLike[str]) -> None:
    """PrnError where a large image would not fit into the memory that is free, before the system has to stop us."""
    if head and head.width * head.height >= LARGE and (memory := _short_of_memory(3 * head.width * head.height)):
        raise PrnError(f"{path}: {memory} to decode {head.width}x{head.height} pixels; free memory or reduce it")


def _short_of_memory(needed: int) -> str:
    """'' where so many bytes can be had, else what is short in words."""
    free = free_memory()
    if free is not None and needed > free:
        return f"{needed / 2**30:.2f} GiB of memory are needed and {free / 2**30:.2f} free"
    try:
        np.empty(needed, np.uint8)
    except MemoryError:
        return f"{needed / 2**30:.2f} GiB of memory are needed and not to be had"
    return ""
