"""The published layouts of the five data sets, and a user's own folder and CSV, filled with miniature images.

Archive names, folders, file names and label files are those of the published archives (the same readers take
both); the category names of MVTec AD are our own, for the images are not MVTec's.
"""

from zlib import crc32

import cv2
import numpy as np
from numpy.random import RandomState

from prn.tools.miniature.archives import Files
from prn.tools.miniature.categories import (
    CATEGORIES,
    DEFECTIVE,
    DISC,
    GRAVEL,
    LAWN,
    SURFACE,
    TEST_NORMAL,
    TRAIN_NORMAL,
    Category,
)
from prn.tools.miniature.photographs import photograph

# Photographs that no category and no foreign material is cut from.
TEXTURES = ("astronaut.png", "camera.png", "chelsea.png", "coins.png", "ihc.png", "page.png", "rocket.jpg", "text.png")
TEXTURES_EACH = 8


def mvtec_files() -> Files:
    """MVTec AD: categories at the top level, `train/good`, `test/<type>`, `ground_truth/<type>/NNN_mask.png`."""
    files: Files = {}
    for category in CATEGORIES["mvtec"]:
        files |= _by_type(category, "_mask.png")
    return files


def garden_files() -> Files:
    """A user's own folder, its masks named like the images, and beside it a CSV that lists the same images."""
    files = _by_type(LAWN, ".png")
    lines = ["image,category,split,type,mask"]
    for name in sorted(files):
        _, split, kind, image = name.split("/")
        if split != "ground_truth":
            mask = "" if kind == "good" else f"lawn/ground_truth/{kind}/{image}"
            lines.append(f"{name},lawn,{split},{kind},{mask}")
    return {**files, "images.csv": ("\n".join(lines) + "\n").encode()}


def _by_type(category: Category, mask_ending: str) -> Files:
    """One category as `train/good`, `test/<type>` and `ground_truth/<type>`, numbered within each."""
    files: Files = {}
    for n in range(TRAIN_NORMAL):
        files[f"{category.name}/train/good/{n:03d}.png"] = _encode(".png", category.normal("train", n))
    for n in range(TEST_NORMAL):
        files[f"{category.name}/test/good/{n:03d}.png"] = _encode(".png", category.normal("test", n))
    numbers = dict.fromkeys(category.kinds, 0)
    for n, kind in enumerate(category.kinds_for(DEFECTIVE)):
        image, mask = category.defective("defective", n, kind)
        stem = f"{numbers[kind]:03d}"
        numbers[kind] += 1
        files[f"{category.name}/test/{kind}/{stem}.png"] = _encode(".png", image)
        files[f"{category.name}/ground_truth/{kind}/{stem}{mask_ending}"] = _encode(".png", _white(mask))
    return files


def dagm_files() -> Files:
    """DAGM 2007: `Class1/Class1/{Train,Test}`, `Label/Labels.txt` and weak elliptical labels, grey images."""
    files: Files = {}
    split_defects = {"Train": 14, "Test": DEFECTIVE - 14}
    split_normals = {"Train": TRAIN_NORMAL, "Test": TEST_NORMAL}
    kinds = iter(GRAVEL.kinds_for(DEFECTIVE))
    number = 0
    for split in ("Test", "Train"):  # the published numbers go on from Test to Train
        folder = f"Class1/Class1/{split}"
        total = split_defects[split] + split_normals[split]
        defective = set(RandomState(crc32(split.encode())).permutation(total)[: split_defects[split]].tolist())
        lines = ["1"]
        for position in range(total):
            number += 1
            name, label = f"{number:04d}.PNG", "0"
            if position in defective:
                image, mask = GRAVEL.defective(split, position, next(kinds))
                label = f"{number:04d}_label.PNG"
                files[f"{folder}/Label/{label}"] = _encode(".png", _white(_around(mask)))
            else:
                image = GRAVEL.normal(split, position)
            files[f"{folder}/{name}"] = _encode(".png", image)
            lines.append(f"{position + 1}\t{int(label != '0')}\t{name}\t0\t{label}")
        files[f"{folder}/Label/Labels.txt"] = ("\r\n".join(lines) + "\r\n").encode()
    return files


def btad_files() -> Files:
    """BTAD: `BTech_Dataset_transformed/01/{train/ok,test/ok,test/ko,ground_truth/ko}`, bmp images, png masks."""
    root = "BTech_Dataset_transformed/01"
    files: Files = {}
    for n in range(TRAIN_NORMAL):
        files[f"{root}/train/ok/{n:04d}.bmp"] = _encode(".bmp", DISC.normal("train", n))
    for n in range(TEST_NORMAL):
        files[f"{root}/test/ok/{n:04d}.bmp"] = _encode(".bmp", DISC.normal("test", n))
    for n, kind in enumerate(DISC.kinds_for(DEFECTIVE)):
        image, mask = DISC.defective("defective", n, kind)
        files[f"{root}/test/ko/{n:04d}.bmp"] = _encode(".bmp", image)
        files[f"{root}/ground_truth/ko/{n:04d}.png"] = _encode(".png", _soft(mask))
    return files


def ksdd2_files() -> Files:
    """KolektorSDD2: `{train,test}/NNNNN.png` with `NNNNN_GT.png`, the stray copies and a .pyb file."""
    files: Files = {"split_weakly_0.pyb": b"The published archive has a pickle here. Nothing reads it.\n"}
    kinds = iter(SURFACE.kinds_for(2 * DEFECTIVE))
    for split, first, normals, defects in (
        ("train", 10000, TRAIN_NORMAL, 8),
        ("test", 20000, TEST_NORMAL, DEFECTIVE),
    ):
        total = normals + defects
        defective = set(RandomState(crc32(split.encode())).permutation(total)[:defects].tolist())
        for n in range(total):
            if n in defective:
                image, mask = SURFACE.defective(split, n, next(kinds))
            else:
                image = SURFACE.normal(split, n)
                mask = np.zeros(image.shape[:2], bool)
            files[f"{split}/{first + n}.png"] = _encode(".png", image)
            files[f"{split}/{first + n}_GT.png"] = _encode(".png", _white(mask))
    files["train/10301 (copy).png"] = files["train/10001.png"]
    files["train/10301_GT (copy).png"] = files["train/10001_GT.png"]
    return files


def dtd_files() -> Files:
    """DTD: `dtd/images/<class>/<class>_NNNN.jpg`, the classes named after the photographs they are cut from."""
    files: Files = {}
    for source in TEXTURES:
        name = source.partition(".")[0]
        photo = photograph(source)
        rng = RandomState(crc32(name.encode()))
        for n in range(TEXTURES_EACH):
            height, width = rng.randint(110, 160, 2)
            top, left = rng.randint(photo.shape[0] - height + 1), rng.randint(photo.shape[1] - width + 1)
            crop = photo[top : top + height, left : left + width].astype(np.uint8)
            files[f"dtd/images/{name}/{name}_{n + 1:04d}.jpg"] = _encode(
                ".jpg", np.repeat(crop, 4 - crop.shape[2], -1)[..., :3]
            )
    return files


def _encode(suffix: str, image: np.ndarray) -> bytes:
    """An RGB or grey uint8 image as a file's bytes."""
    done, content = cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 and image.shape[2] == 3 else image)
    if not done:
        raise OSError(f"OpenCV could not encode an image of shape {image.shape} as {suffix}")
    return content.tobytes()


def _white(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 255, 0).astype(np.uint8)


def _soft(mask: np.ndarray) -> np.ndarray:
    """A mask as BTAD's are: not pure 0 and 255, with a grey rim that lies outside the defect."""
    rim = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return np.where(mask, 250, np.where(rim, 96, 0)).astype(np.uint8)


def _around(mask: np.ndarray) -> np.ndarray:
    """A weak label as DAGM's are: one ellipse along the defect's own axes that contains every pixel of it, and more."""
    rows, columns = np.nonzero(mask)
    points = np.stack([columns, rows], -1).astype(np.float64)
    middle = points.mean(0)
    offsets = points - middle
    _, axes = np.linalg.eigh(offsets.T @ offsets / len(points) + np.eye(2))
    along = np.abs(offsets @ axes).max(0) + 1
    reach = np.hypot(*((offsets @ axes) / along).T).max() * 1.1
    grid = np.stack(np.meshgrid(np.arange(mask.shape[1]), np.arange(mask.shape[0])), -1) - middle
    return np.hypot(*np.moveaxis((grid @ axes) / along, -1, 0)) <= reach
