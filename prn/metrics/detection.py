"""Metrics of whole images."""

from typing import Any

import numpy as np

from prn.metrics.inputs import scores_and_labels
from prn.metrics.ranking import Steps, count_above, distinct_descending


def image_auroc(scores: Any, labels: Any) -> float | None:
    """Area under the ROC curve of one score an image (higher = more anomalous), scikit-learn's `roc_auc_score`.

    scores: N finite numbers; labels: N booleans or 0/1, 1 = anomalous. Both may be numpy arrays or torch tensors.
    Returns a float in [0, 1], or None without both classes. Raises ValueError for NaN, infinity and unequal lengths.
    """
    values, anomalous = scores_and_labels(scores, labels)
    if anomalous.all() or not anomalous.any():
        return None
    steps, counts = image_steps(values, anomalous)[1:]
    return float(steps.area(counts))


def image_steps(values: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, Steps, np.ndarray]:
    """The distinct scores of anomalous images from high to low, the curve's steps and the anomalous images at each."""
    thresholds, order, starts = distinct_descending(values[anomalous])
    good = np.append(np.sort(values[~anomalous]), np.inf)
    above, at_least = count_above(good, thresholds[::-1])
    return thresholds, Steps(above[::-1], at_least[::-1], len(good) - 1), np.diff(starts, append=len(order))
