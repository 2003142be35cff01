"""DRA's pseudo anomalies (CutMix between two normal images) and its training rotation.

Ding et al., CVPR 2022, section 3.2: T(C(R * x_i)) + (1 - T(R)) * x_j with a random rectangle R, a translation T and a
colour jitter C. Size, shape and jitter are not given there; they are those of CutPaste (Li et al., CVPR 2021).
"""

import cv2
import numpy as np

AREA = (0.02, 0.15)  # of the image
ASPECT = (0.3, 3.3)  # width by height, in equal shares below and above 1
JITTER = 0.1  # brightness, contrast and saturation change by at most this share


def pseudo_anomaly(source: np.ndarray, target: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """`target` with a rectangle of `source` in other colours at a random place: H x W x 3 uint8."""
    height, width = target.shape[:2]
    rows, columns = _rectangle(height, width, random)
    top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
    piece = colour_jitter(source[top : top + rows, left : left + columns], random)
    top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
    result = target.copy()
    result[top : top + rows, left : left + columns] = piece
    return result


def colour_jitter(piece: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and saturation of H x W x 3 uint8, each times a factor within 1 +- `JITTER`."""
    brightness, contrast, saturation = random.uniform(1 - JITTER, 1 + JITTER, 3)
    values = piece.astype(np.float32) * brightness
    values = _away_from(values.mean(), values, contrast)
    values = _away_from(values.mean(axis=2, keepdims=True), values, saturation)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def rotated(image: np.ndarray, degrees: float, random: np.random.Generator) -> np.ndarray:
    """An image turned about its centre by an angle within +- `degrees`; corners without a source pixel are black."""
    height, width = image.shape[:2]
    angle = random.uniform(-degrees, degrees)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_NEAREST)


def _rectangle(height: int, width: int, random: np.random.Generator) -> tuple[int, int]:
    area = random.uniform(*AREA) * height * width
    aspect = random.uniform(ASPECT[0], 1.0) if random.random() < 0.5 else random.uniform(1.0, ASPECT[1])
    rows, columns = round(np.sqrt(area / aspect)), round(np.sqrt(area * aspect))
    return int(np.clip(rows, 1, height)), int(np.clip(columns, 1, width))


def _away_from(centre: np.ndarray | np.floating, values: np.ndarray, factor: float) -> np.ndarray:
    return centre + (values - centre) * factor
