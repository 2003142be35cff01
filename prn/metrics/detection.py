"""Metrics of whole images: AUROC and the operating points that a production line would run at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prn.metrics.inputs import scores_and_labels
from prn.metrics.ranking import Steps, count_above, distinct_descending


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One threshold on the image score: images at or above it are rejected. Rates in [0, 1]."""

    rule: str  # what chose the threshold: "fpr <= 0.01" or "recall >= 0.95"
    threshold: float | None  # a score that occurs; None: no threshold keeps the rule, nothing is rejected
    recall: float
    fpr: float
    false_alarms: int
    missed: int
    false_alarms_per_1000_good: float
    recall_by_type: dict[str, float]


def image_auroc(scores: Any, labels: Any) -> float | None:
    """Area under the ROC curve of one score an image (higher = more anomalous), scikit-learn's `roc_auc_score`.

    scores: N finite numbers; labels: N booleans or 0/1, 1 = anomalous. Both may be numpy arrays or torch tensors.
    Returns a float in [0, 1], or None without both classes. Raises ValueError for NaN, infinity and unequal lengths.
    """
    values, anomalous = scores_and_labels(scores, labels)
    if anomalous.all() or not anomalous.any():
        return None
    _, steps, counts = image_steps(values, anomalous)
    return float(steps.area(counts))


def operating_points(
    scores: Any,
    labels: Any,
    fprs: Sequence[float] = (0.01, 0.05),
    recalls: Sequence[float] = (0.95, 1.0),
    types: Sequence[str] | None = None,
) -> list[OperatingPoint]:
    """Recall at a bounded false positive rate, and false alarms at a demanded recall, over images.

    scores, labels: as in `image_auroc`. fprs: for each the threshold with the highest recall whose false positive
    rate is at most this; with fewer than 1 / fpr good images that means no false alarm at all. recalls: for each
    the highest threshold that reaches it. types: the type of each image, for the recall of each defect type.
    Returns one point for each of fprs, then of recalls; an empty list without both classes.
    """
    values, anomalous = scores_and_labels(scores, labels)
    if types is not None and len(types) != len(values):
        raise ValueError(f"{len(types)} types but {len(values)} scores")
    if not all(0 <= fpr <= 1 for fpr in fprs) or not all(0 < recall <= 1 for recall in recalls):
        raise ValueError(f"false positive rates and recalls must be in [0, 1], found {list(fprs)} and {list(recalls)}")
    if anomalous.all() or not anomalous.any():
        return []
    thresholds, steps, counts = image_steps(values, anomalous)
    found = np.cumsum(counts)
    chosen = [(f"fpr <= {fpr:g}", steps.passed(fpr) - 1) for fpr in fprs]
    # Rounding must not ask for one more: 0.95 * 20 may lie just above 19.
    chosen += [(f"recall >= {recall:g}", int(np.searchsorted(found, recall * found[-1] - 1e-9))) for recall in recalls]
    names = np.array(types if types is not None else [""] * len(values), dtype=object)
    cuts = [(rule, float(thresholds[step]) if step >= 0 else None) for rule, step in chosen]
    return [_operating_point(rule, cut, values, anomalous, names) for rule, cut in cuts]


def _operating_point(
    rule: str, threshold: float | None, values: np.ndarray, anomalous: np.ndarray, types: np.ndarray
) -> OperatingPoint:
    rejected = values >= threshold if threshold is not None else np.zeros(len(values), bool)
    false_alarms = int((rejected & ~anomalous).sum())
    fpr = false_alarms / int((~anomalous).sum())
    defects = sorted({str(name) for name in types[anomalous] if name})
    return OperatingPoint(
        rule=rule,
        threshold=threshold,
        recall=float(rejected[anomalous].mean()),
        fpr=fpr,
        false_alarms=false_alarms,
        missed=int((anomalous & ~rejected).sum()),
        false_alarms_per_1000_good=1000 * fpr,
        recall_by_type={name: float(rejected[anomalous & (types == name)].mean()) for name in defects},
    )


def image_steps(values: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, Steps, np.ndarray]:
    """The distinct scores of anomalous images from high to low, the curve's steps and the anomalous images at each."""
    thresholds, order, starts = distinct_descending(values[anomalous])
    good = np.append(np.sort(values[~anomalous]), np.inf)
    above, at_least = count_above(good, thresholds[::-1])
    return thresholds, Steps(above[::-1], at_least[::-1], len(good) - 1), np.diff(starts, append=len(order))
