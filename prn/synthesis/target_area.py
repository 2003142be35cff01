"""Target areas (paper 3.4): a circle, rectangle or polygon of random size inside the foreground."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from prn.synthesis.spatial import Box

SHAPES = ("circle", "rectangle", "polygon")
MOST_CORNERS = 8
# One number for the shape, two for the size, one for the number of corners, an angle and a radius for each corner.
UNIFORMS = 4 + 2 * MOST_CORNERS


@dataclass(frozen=True, slots=True)
class TargetArea:
    """`mask` (uint8 0/1, never empty) is the area inside `box`; centre is a pixel (y, x) of it."""

    shape: str
    box: Box
    mask: np.ndarray
    centre: tuple[int, int]


def draw_target_area(
    uniforms: np.ndarray, sizes: Sequence[float], centre: tuple[int, int], height: int, width: int
) -> TargetArea:
    """A shape whose extent is a share of the side within `sizes` (a circle's diameter: of the shorter side).

    uniforms: `UNIFORMS` numbers in [0, 1). Polygons have 3 to 8 corners on rays of an ellipse, between half and full
    radius.
    """
    name = SHAPES[int(uniforms[0] * 3)]
    shares = sizes[0] + uniforms[1:3] * (sizes[1] - sizes[0])
    if name == "circle":
        radius_y = radius_x = shares[0] * min(height, width) / 2
    else:
        radius_y, radius_x = shares[0] * height / 2, shares[1] * width / 2
    row, column = centre
    reach_y, reach_x = math.floor(radius_y), math.floor(radius_x)
    box = Box(row - reach_y, column - reach_x, row + reach_y + 1, column + reach_x + 1)
    box = box.within(Box(0, 0, height, width))
    if name == "rectangle":
        mask = np.ones((box.bottom - box.top, box.right - box.left), np.uint8)
    elif name == "circle":
        ys = np.arange(box.top, box.bottom)[:, None] - row
        xs = np.arange(box.left, box.right) - column
        mask = (ys**2 + xs**2 <= math.floor(radius_y**2)).astype(np.uint8)
    else:
        corners = 3 + int(uniforms[3] * (MOST_CORNERS - 2))
        angles = 2 * math.pi * (np.arange(corners) + 0.5 * uniforms[4 : 4 + corners]) / corners
        radii = 0.5 + 0.5 * uniforms[4 + MOST_CORNERS : 4 + MOST_CORNERS + corners]
        points = np.stack((radii * np.cos(angles) * radius_x, radii * np.sin(angles) * radius_y), axis=1)
        points = np.rint(points).astype(np.int32) + np.array([column - box.left, row - box.top], np.int32)
        mask = np.zeros((box.bottom - box.top, box.right - box.left), np.uint8)
        cv2.fillPoly(mask, [points], 1)
    mask[row - box.top, column - box.left] = 1
    return TargetArea(name, box, mask, centre)
