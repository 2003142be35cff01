"""Metrics of whole images."""

from typing import Any

import numpy as np

from prn.metrics.inputs import scores_and_labels
from prn.metrics.ranking import Steps, count_above, distinct_descending


def image_auroc(scores: Any, labels: Any) -> float | None:
    """Area under the ROC curve of one score an image (higher = more anomalous), equal to scikit-learn's `roc_auc_score`.

    scores: N finite numbers; labels: N booleans or 0/1, 1 = anomalous. Both may be numpy arrays or torch tensors.
    Returns a float in [0, 1], or None without both classes. Raises ValueError for NaN, infinity and lengths that differ.
    """
    values, anomalous = scores_and_labels(scores, labels)
    if anomalous.all() or not anomalous.any():
        return None
    thresholds, order, starts = distinct_descending(values[anomalous])
    above, at_least = count_above(np.sort(values[~anomalous]), thresholds)
    steps = Steps(above, at_least, int((~anomalous).sum()))
    return steps.area(np.diff(starts, append=len(order)).astype(np.float64))
