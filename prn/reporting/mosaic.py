"""Pictures in a grid with labels, placed pixel by pixel: input, ground truth, score map, overlay."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from prn.reporting import style

TILE, GAP, DPI = 150, 8, 100
LABEL_PIXELS, LINE_PIXELS, BAR_PIXELS = 128, 14, 96


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture, uint8 H x W x 3; `outline` (bool H x W) is drawn over it."""

    picture: np.ndarray
    outline: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class ColourBar:
    """What the colours of score maps mean."""

    scale: Normalize
    label: str


def write_mosaic(
    rows: list[list[Tile]], row_labels: list[str], column_labels: list[str], path: Path, bar: ColourBar | None = None
) -> None:
    """Write tiles in rows with a label left of each row and above each column, as a PNG."""
    canvas = _canvas(rows)
    top = LINE_PIXELS * max(label.count("\n") + 1 for label in column_labels) + GAP
    width = LABEL_PIXELS + canvas.shape[1] + (BAR_PIXELS if bar else GAP)
    height = top + canvas.shape[0] + GAP
    with style.figure(width / DPI, height / DPI, by_hand=True) as made:
        made.set_dpi(DPI)
        made.figimage(canvas, LABEL_PIXELS, GAP)
        for number, label in enumerate(row_labels):
            y = height - top - number * (TILE + GAP) - TILE / 2
            made.text((LABEL_PIXELS - GAP) / width, y / height, label, ha="right", va="center", fontsize=7.5)
        for number, label in enumerate(column_labels):
            x = LABEL_PIXELS + number * (TILE + GAP) + TILE / 2
            made.text(x / width, (height - top + 4) / height, label, ha="center", va="bottom", fontsize=8.5)
        if bar:
            tall = min(canvas.shape[0], 3 * TILE)
            left, bottom = width - BAR_PIXELS + 14, GAP + (canvas.shape[0] - tall) / 2
            axes = made.add_axes((left / width, bottom / height, 14 / width, tall / height))
            made.colorbar(ScalarMappable(bar.scale, style.SCORE_MAP), cax=axes, label=bar.label, extend="max")
        style.save(made, path, photographs=True, dpi=DPI, tight=False)


def _canvas(rows: list[list[Tile]]) -> np.ndarray:
    """The tiles on white."""
    down, across = len(rows), len(rows[0])
    canvas = np.full((down * (TILE + GAP) - GAP, across * (TILE + GAP) - GAP, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            top, left = y * (TILE + GAP), x * (TILE + GAP)
            canvas[top : top + TILE, left : left + TILE] = _drawn(tile)
    return canvas


def _drawn(tile: Tile) -> np.ndarray:
    shrinks = max(tile.picture.shape[:2]) > TILE
    shown = cv2.resize(tile.picture, (TILE, TILE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    if tile.outline is None or not tile.outline.any():
        return shown
    mask = cv2.resize(tile.outline.astype(np.uint8), (TILE, TILE), interpolation=cv2.INTER_NEAREST)
    # Around the defect, so that a small one is not covered; white on a thin dark rim stands out on any image.
    contours, _ = cv2.findContours(cv2.dilate(mask, np.ones((7, 7), np.uint8)), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    shown = cv2.drawContours(shown.copy(), contours, -1, (0, 0, 0), 3)
    return cv2.drawContours(shown, contours, -1, (255, 255, 255), 1)


def coloured(score_map: np.ndarray, scale: Normalize) -> np.ndarray:
    """A score map as an RGB picture, uint8 H x W x 3."""
    return (mpl.colormaps[style.SCORE_MAP](scale(score_map.astype(np.float64)))[..., :3] * 255).round().astype(np.uint8)


def overlay(image: np.ndarray, score_map: np.ndarray, scale: Normalize) -> np.ndarray:
    """The image under the score map's colours, which cover the more the higher the score, uint8 H x W x 3."""
    cover = 0.75 * np.asarray(scale(score_map.astype(np.float64)))[..., None]
    return ((1 - cover) * image + cover * coloured(score_map, scale)).round().astype(np.uint8)


def truth_picture(mask: np.ndarray, has_mask: bool) -> np.ndarray:
    """The ground truth as an RGB picture: white is defect; mid-grey stands for a defect without a mask."""
    if not has_mask:
        return np.full((*mask.shape, 3), 128, np.uint8)
    return np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)
