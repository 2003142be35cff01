"""The metrics word for word, threshold by threshold, as independent expected values; and images to try them on."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage, special

EIGHT_CONNECTED = np.ones((3, 3))

Images = tuple[list[np.ndarray], list[np.ndarray]]


def pro_points(maps, masks, keep=lambda image, area: True) -> tuple[np.ndarray, np.ndarray]:
    """False positive rate over all images and mean overlap of the kept regions at infinity and each distinct score."""
    labelled = [ndimage.label(mask, EIGHT_CONNECTED) for mask in masks]
    negatives = sum(int((~mask).sum()) for mask in masks)
    fprs, pros = [0.0], [0.0]
    for threshold in np.unique(np.concatenate([one.ravel() for one in maps]))[::-1]:
        false_positives, overlaps = 0, []
        for image, (one, mask, (labels, count)) in enumerate(zip(maps, masks, labelled, strict=True)):
            predicted = one >= threshold
            false_positives += int((predicted & ~mask).sum())
            for region in range(1, count + 1):
                inside = labels == region
                if keep(image, int(inside.sum())):
                    overlaps.append(predicted[inside].mean())
        fprs.append(false_positives / negatives)
        pros.append(float(np.mean(overlaps)))
    return np.array(fprs), np.array(pros)


def area_to(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Trapezoids from 0 to the limit, interpolated there, divided by the limit."""
    area = 0.0
    for x0, x1, y0, y1 in zip(x[:-1], x[1:], y[:-1], y[1:], strict=True):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + y_end) / 2
    return area / limit


def brute_force_pro(maps, masks, fpr_limit: float, keep=lambda image, area: True) -> float:
    return area_to(*pro_points(maps, masks, keep), fpr_limit)


def flat(arrays) -> np.ndarray:
    return np.concatenate([one.ravel() for one in arrays])


@st.composite
def scored_images(draw) -> Images:
    """One to four images of differing sizes with few or many distinct scores; both classes occur."""
    shapes = draw(st.lists(st.tuples(st.integers(2, 7), st.integers(2, 7)), min_size=1, max_size=4))
    levels = draw(st.sampled_from([2, 5, 1000]))
    maps = [draw(hnp.arrays(np.int64, shape, elements=st.integers(0, levels))) / levels for shape in shapes]
    masks = [draw(hnp.arrays(bool, shape)) for shape in shapes]
    masks[0][0, 0], masks[0][1, 1] = True, False
    return maps, masks


def realistic_images(count: int, size: int, seed: int = 0, sigmoid: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth score maps that are higher on random ellipses, a third of the images good; float32 and boolean."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    masks = np.zeros((count, size, size), bool)
    maps = np.empty((count, size, size), np.float32)
    for image in range(count):
        for _ in range(0 if image % 3 == 0 else random.integers(1, 4)):
            y, x = random.uniform(0.1 * size, 0.9 * size, 2)
            height, width = random.uniform(0.02 * size, 0.12 * size, 2)
            masks[image] |= ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 <= 1
        noise = ndimage.gaussian_filter(random.normal(size=(size, size)), 3) * 6 + random.normal() * 0.3
        maps[image] = noise + random.uniform(0.5, 4) * ndimage.gaussian_filter(masks[image].astype(float), 2)
    return (special.expit(sigmoid * (maps - 2)) if sigmoid else maps), masks
