"""What callers hand over (arrays, tensors, lists; any float type) brought to one checked form."""

from collections.abc import Iterable
from typing import Any

import numpy as np


def as_numpy(values: Any) -> np.ndarray:
    """A numpy array of an array, a torch tensor (any device and float type) or a nested sequence."""
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        if tensor.is_floating_point() and tensor.element_size() < 4:
            tensor = tensor.float()  # numpy knows no bfloat16; float32 holds every 16-bit float exactly
        return tensor.numpy()
    return np.asarray(values)


def score_type(dtypes: Iterable[np.dtype]) -> np.dtype:
    """The narrowest float type from float32 upwards that holds scores of all these types."""
    types = set(dtypes)
    strange = sorted(str(dtype) for dtype in types if dtype.kind not in "fiub")
    if strange:
        raise ValueError(f"scores must be real numbers, found {', '.join(strange)}")
    return np.result_type(np.float32, *types)


def score_maps_and_masks(score_maps: Any, masks: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Score maps and boolean masks as two lists of H x W arrays of equal shapes.

    Raises ValueError for shapes that do not match and for masks with values other than 0 and 1.
    """
    maps, truths = _as_list(score_maps, "score_maps"), _as_list(masks, "masks")
    if len(maps) != len(truths):
        raise ValueError(f"{len(maps)} score maps but {len(truths)} masks")
    for index, (one, truth) in enumerate(zip(maps, truths, strict=True)):
        if one.shape != truth.shape:
            raise ValueError(f"score_maps[{index}] has the shape {one.shape} but its mask {truth.shape}")
        truths[index] = as_boolean(truth, f"masks[{index}]")
    return maps, truths


def scores_and_labels(scores: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """One finite score and one 0/1 label for each image, as flat arrays; ValueError for anything else."""
    values, truths = as_numpy(scores), as_numpy(labels)
    if values.ndim != 1 or values.shape != truths.shape:
        raise ValueError(f"scores and labels must be flat and equally long, found {values.shape} and {truths.shape}")
    values = values.astype(score_type([values.dtype]))
    if not np.isfinite(values).all():
        index = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"scores must be finite, found {values[index]} at index {index}")
    return values, as_boolean(truths, "labels")


def as_boolean(values: np.ndarray, name: str) -> np.ndarray:
    """Booleans of an array that holds only 0 and 1 (or booleans); ValueError with the name otherwise."""
    if values.dtype == bool:
        return values
    if values.dtype.kind in "iu" and values.dtype.itemsize == 1:
        narrow = np.ascontiguousarray(values).view(np.uint8)
        if not values.size or narrow.max() <= 1:
            return narrow.view(bool)
    elif ((values == 0) | (values == 1)).all():
        return values.astype(bool)
    found = ", ".join(str(value) for value in np.unique(values)[-3:])
    raise ValueError(f"{name} must be boolean or hold only 0 and 1, found values up to {found}")


def _as_list(values: Any, what: str) -> list[np.ndarray]:
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
