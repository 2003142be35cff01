"""Pixel metrics against scikit-learn, a brute-force PRO and hand-computed cases; their invariances as properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from prn.metrics import image_auroc, localization_metrics

EIGHT_CONNECTED = np.ones((3, 3))


def brute_force_pro(maps: list[np.ndarray], masks: list[np.ndarray], fpr_limit: float) -> float:
    """PRO word for word: each distinct score as a threshold, each region's overlap, trapezoids up to the limit."""
    fprs, pros = [0.0], [0.0]
    negatives = sum(int((~mask).sum()) for mask in masks)
    labelled = [ndimage.label(mask, EIGHT_CONNECTED) for mask in masks]
    for threshold in np.unique(np.concatenate([one.ravel() for one in maps]))[::-1]:
        false_positives, overlaps = 0, []
        for one, mask, (labels, count) in zip(maps, masks, labelled, strict=True):
            predicted = one >= threshold
            false_positives += int((predicted & ~mask).sum())
            overlaps += [predicted[labels == region].mean() for region in range(1, count + 1)]
        fprs.append(false_positives / negatives)
        pros.append(float(np.mean(overlaps)))
    area = 0.0
    for x0, x1, y0, y1 in zip(fprs[:-1], fprs[1:], pros[:-1], pros[1:], strict=True):
        if x0 < fpr_limit and x1 > x0:
            end = min(x1, fpr_limit)
            y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + y_end) / 2
    return area / fpr_limit


@st.composite
def scored_images(draw) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """One to four small images of differing sizes, few or many distinct scores, masks with both classes over all of them."""
    count = draw(st.integers(1, 4))
    shapes = [(draw(st.integers(2, 7)), draw(st.integers(2, 7))) for _ in range(count)]
    levels = draw(st.sampled_from([2, 5, 1000]))
    maps = [draw(hnp.arrays(np.int64, shape, elements=st.integers(0, levels))) / levels for shape in shapes]
    masks = [draw(hnp.arrays(bool, shape)) for shape in shapes]
    masks[0][0, 0], masks[0][1, 1] = True, False
    return maps, masks


@settings(max_examples=150, deadline=None)
@given(scored_images(), st.sampled_from([0.05, 0.3, 1.0]))
def test_equals_independent_values(images, fpr_limit):
    maps, masks = images
    found = localization_metrics(maps, masks, fpr_limit)
    scores = np.concatenate([one.ravel() for one in maps])
    truth = np.concatenate([mask.ravel() for mask in masks])
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert found["ap"] == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
    assert found["pro"] == pytest.approx(brute_force_pro(maps, masks, fpr_limit), abs=1e-9)
    assert all(0 <= value <= 1 for value in found.values())


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float32, st.integers(2, 40), elements=st.integers(-4, 4).map(float)), st.randoms())
def test_image_auroc_equals_scikit_learn(scores, random):
    labels = np.array([random.random() < 0.5 for _ in scores])
    if labels.all() or not labels.any():
        assert image_auroc(scores, labels) is None
    else:
        assert image_auroc(torch.tensor(scores), labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
