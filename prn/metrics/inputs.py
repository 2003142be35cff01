"""What callers hand over (arrays, tensors, lists; any float type) brought to one checked form."""

from collections.abc import Sequence
from typing import Any

import numpy as np

SCORE_BYTES_EXACT_IN_FLOAT32 = 2


def as_numpy(values: Any) -> np.ndarray:
    """A numpy view of an array, a torch tensor (of any device and float type) or a nested sequence."""
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        if tensor.is_floating_point() and tensor.element_size() <= SCORE_BYTES_EXACT_IN_FLOAT32:
            tensor = tensor.float()  # numpy knows no bfloat16; float32 holds every 16-bit float exactly
        return tensor.numpy()
    return np.asarray(values)


def score_type(dtypes: Sequence[np.dtype]) -> np.dtype:
    """The float type that holds scores of all these types exactly: float32, or float64 for wide types."""
    wide = any(dtype.kind not in "fiub" for dtype in dtypes)
    if wide:
        raise ValueError(f"scores must be real numbers, found {sorted({str(d) for d in dtypes})}")
    return np.result_type(np.float32, *dtypes) if dtypes else np.dtype(np.float32)


def _split(values: Any, what: str) -> list[np.ndarray]:
    """A stack N x H x W (or N x 1 x H x W) or a sequence of H x W arrays as a list of H x W arrays."""
    if isinstance(values, (list, tuple)):
        maps = [as_numpy(value) for value in values]
    else:
        stack = as_numpy(values)
        if stack.ndim == 4 and stack.shape[1] == 1:
            stack = stack[:, 0]
        if stack.ndim != 3:
            raise ValueError(f"{what} must be N x H x W or a list of H x W arrays, found the shape {stack.shape}")
        maps = list(stack)
    for index, one in enumerate(maps):
        if one.ndim != 2:
            raise ValueError(f"{what}[{index}] must be H x W, found the shape {one.shape}")
    return maps


def score_maps_and_masks(score_maps: Any, masks: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Score maps and boolean masks as two lists of H x W arrays of equal shapes.

    Raises ValueError for shapes that do not match and for masks with values other than 0 and 1.
    """
    maps, truths = _split(score_maps, "score_maps"), _split(masks, "masks")
    if len(maps) != len(truths):
        raise ValueError(f"{len(maps)} score maps but {len(truths)} masks")
    for index, (one, truth) in enumerate(zip(maps, truths, strict=True)):
        if one.shape != truth.shape:
            raise ValueError(f"score_maps[{index}] has the shape {one.shape} but its mask {truth.shape}")
        truths[index] = _as_boolean(truth, f"masks[{index}]")
    return maps, truths


def _as_boolean(mask: np.ndarray, name: str) -> np.ndarray:
    if mask.dtype == bool:
        return mask
    if mask.dtype.itemsize == 1 and mask.size and mask.max() <= 1 and mask.min() >= 0:
        return np.ascontiguousarray(mask).view(bool)
    if not np.isin(mask, (0, 1)).all():
        raise ValueError(f"{name} must be boolean or hold only 0 and 1, found {np.unique(mask)[:5].tolist()}...")
    return mask.astype(bool)


def scores_and_labels(scores: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """One score and one 0/1 label for each image, as flat arrays; ValueError for anything else."""
    values, truths = as_numpy(scores), as_numpy(labels)
    if values.ndim != 1 or values.shape != truths.shape:
        raise ValueError(f"scores and labels must be flat and equally long, found {values.shape} and {truths.shape}")
    values = values.astype(score_type([values.dtype]))
    if not np.isfinite(values).all():
        index = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"scores must be finite, found {values[index]} at index {index}")
    return values, _as_boolean(truths, "labels")
