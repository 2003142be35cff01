"""Small trees in the published layouts with every known oddity, and archives of them, made by code.

Every pixel is chosen here, so that the expected values in the tests can be written by hand.
"""

import io
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

Files = dict[str, bytes]


def encoded(pixels: np.ndarray, suffix: str = ".png") -> bytes:
    """The bytes of an image file; colours in RGB order."""
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return data.tobytes()


def picture(number: int, height: int = 12, width: int = 16, grey: bool = False, suffix: str = ".png") -> bytes:
    """An image that differs for every number."""
    pixels = np.full((height, width, 3), 40, np.uint8)
    pixels[0, :8] = [[255 if number >> bit & 1 else 0] * 3 for bit in range(8)]
    pixels[1, :8] = [[255 if number >> (8 + bit) & 1 else 0] * 3 for bit in range(8)]
    return encoded(pixels[..., 0] if grey else pixels, suffix)


def mask(area: int, height: int = 12, width: int = 16, value: int = 255, suffix: str = ".png") -> bytes:
    """A mask whose first `area` pixels (in reading order) have `value`."""
    pixels = np.zeros((height, width), np.uint8)
    pixels.reshape(-1)[:area] = value
    return encoded(pixels, suffix)


def mvtec_tree(
    category: str = "grid", train: int = 3, good: int = 2, defects: Mapping[str, int] | None = None
) -> Files:
    """MVTec AD: greyscale images, the category at the top, masks <stem>_mask.png."""
    files = {f"{category}/train/good/{i:03}.png": picture(i, grey=True) for i in range(train)}
    files |= {f"{category}/test/good/{i:03}.png": picture(100 + i, grey=True) for i in range(good)}
    number = 200
    for kind, count in ({"bent": 2, "broken": 3} if defects is None else defects).items():
        for i in range(count):
            files[f"{category}/test/{kind}/{i:03}.png"] = picture(number, grey=True)
            files[f"{category}/ground_truth/{kind}/{i:03}_mask.png"] = mask(5 + i)
            number += 1
    files[f"{category}/license.txt"] = b"CC BY-NC-SA 4.0"
    return files


def dagm_tree(category: str = "Class1", doubled: bool = False) -> Files:
    """DAGM: Labels.txt, two defects in Train (0002, 0004), one in Test (0001); masks of two pixels will vanish."""
    base = f"{category}/{category}" if doubled else category
    files: Files = {}
    for half, total, defective, first in (("Train", 4, (2, 4), 0), ("Test", 3, (1,), 50)):
        lines = ["1"]
        for i in range(1, total + 1):
            flag, name = int(i in defective), f"{i:04}.PNG"
            label = f"{i:04}_label.PNG" if flag else "0"
            lines.append(f"{i}\t{flag}\t{name}\t0\t{label}")
            files[f"{base}/{half}/{name}"] = picture(first + i, 32, 32, grey=True)
            if flag:
                files[f"{base}/{half}/Label/{label}"] = mask(2, 32, 32)
        files[f"{base}/{half}/Label/Labels.txt"] = "\r\n".join(lines).encode()
    return files


def btad_tree(top: str = "BTech_Dataset_transformed/") -> Files:
    """BTAD: 01 with bmp images and png masks, 03 with bmp masks; grey masks (value 3), one mask empty."""
    files: Files = {}
    for category, suffix in (("01", ".png"), ("03", ".bmp")):
        base = f"{top}{category}"
        first = 0 if category == "01" else 80
        files |= {f"{base}/train/ok/{i:04}.bmp": picture(first + i, suffix=".bmp") for i in range(3)}
        files |= {f"{base}/test/ok/{i:04}.bmp": picture(first + 10 + i, suffix=".bmp") for i in range(2)}
        for i, (area, value) in enumerate(((6, 255), (7, 3), (0, 0))):
            files[f"{base}/test/ko/{i:04}.bmp"] = picture(first + 20 + i, suffix=".bmp")
            files[f"{base}/ground_truth/ko/{i:04}{suffix}"] = mask(area, value=value, suffix=suffix)
    return files


def ksdd2_tree() -> Files:
    """KolektorSDD2: one defect of three in train, two of four in test, the stray copies and a pickle with code."""
    files: Files = {}
    for half, first, areas in (("train", 10000, (0, 4, 0)), ("test", 20000, (0, 9, 0, 3))):
        for i, area in enumerate(areas):
            files[f"{half}/{first + i}.png"] = picture(first % 999 + i, 30, 10)
            files[f"{half}/{first + i}_GT.png"] = mask(area, 30, 10)
    files["train/10301 (copy).png"] = picture(7, 30, 10)
    files["train/10301_GT (copy).png"] = mask(0, 30, 10)
    files["split_weakly_0.pyb"] = b"cposix\nsystem\n(S'touch unpickled'\ntR."
    return files


def dtd_tree(classes: int = 47, each: int = 1) -> Files:
    """DTD: <classes> classes below dtd/images, and the files beside them that are no textures."""
    files = {
        f"dtd/images/class{c:02}/class{c:02}_{i:04}.jpg": picture(c * each + i, 16, 24, suffix=".jpg")
        for c in range(classes)
        for i in range(each)
    }
    return files | {"dtd/labels/train1.txt": b"banded/banded_0002.jpg\n", "dtd/imdb/imdb.mat": b"MATLAB"}


def write_tree(files: Files, folder: Path) -> Path:
    """The files below a folder; returns the folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_zip(files: Files, path: Path) -> Path:
    """A deflated zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(files: Files, path: Path, mode: int = 0o444) -> Path:
    """A tar, compressed as its name says; files read-only and their folders too, as in MVTec's archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folders = sorted({parent.as_posix() for name in files for parent in Path(name).parents} - {"."})
    with tarfile.open(path, f"w:{path.suffix[1:]}" if path.suffix != ".tar" else "w") as archive:
        for name in folders:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o555
            archive.addfile(entry)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return path


def odd_tar(path: Path, *entries: tuple[str, bytes, bytes | str]) -> Path:
    """A tar of (name, tarfile type, content or link target)."""
    with tarfile.open(path, "w") as archive:
        for name, kind, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = kind, 0o6755
            if isinstance(content, str):
                entry.linkname = content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def odd_zip(path: Path, name: str, content: bytes = b"x", kind: int = stat.S_IFREG) -> Path:
    """A zip with one entry of any name and kind."""
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = entry.orig_filename = name
        entry.create_system, entry.external_attr = 3, (kind | 0o644) << 16
        archive.writestr(entry, content)
    return path
