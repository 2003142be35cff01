"""Curves for figures, thinned to a few hundred points without a change of the area under them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from prn.metrics.detection import image_steps
from prn.metrics.inputs import scores_and_labels
from prn.metrics.localization import PixelRanking, check_fpr_limit
from prn.metrics.ranking import Steps


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve from left to right: x and y of equal length, both in [0, 1]."""

    x: np.ndarray
    y: np.ndarray


def roc_curve(ranking: PixelRanking, points: int = 400) -> Curve | None:
    """Pixel ROC curve (x: false positive rate, y: true positive rate), at most about `points` points.

    The area under its straight lines is the pixel AUROC. None without both classes.
    """
    return _rate_curve(ranking.steps, ranking.positives_at, 1.0, points) if ranking.defined else None


def pro_curve(ranking: PixelRanking, fpr_limit: float = 0.3, points: int = 400) -> Curve | None:
    """PRO curve (x: false positive rate up to the limit, y: mean overlap of regions), about `points` points.

    The area under its straight lines, divided by the limit, is PRO. None without both classes.
    """
    check_fpr_limit(fpr_limit)
    return _rate_curve(ranking.steps, ranking.overlap_at(), fpr_limit, points) if ranking.defined else None


def image_roc_curve(scores: Any, labels: Any, points: int = 400) -> Curve | None:
    """ROC curve over images; the area under its straight lines is the image AUROC. None without both classes."""
    values, anomalous = scores_and_labels(scores, labels)
    if anomalous.all() or not anomalous.any():
        return None
    _, steps, counts = image_steps(values, anomalous)
    return _rate_curve(steps, counts, 1.0, points)


def precision_recall_curve(ranking: PixelRanking, points: int = 400) -> Curve | None:
    """Pixel precision (y) against recall (x), at most `points` points, to be drawn as steps that end at each point.

    The area under the steps, the sum of (x[i] - x[i - 1]) * y[i] with x[-1] = 0, is AP. Where points were thinned out,
    y is the mean precision of the positives in between. None without both classes.
    """
    if not ranking.defined:
        return None
    counts = ranking.positives_at
    found = np.cumsum(counts)
    gained = np.cumsum(counts * (found / (found + ranking.steps.after)))
    knots = _evenly(found, points)
    share = np.diff(gained[knots], prepend=0.0) / np.diff(found[knots], prepend=0)
    return Curve(found[knots] / found[-1], np.clip(share, 0.0, 1.0))


def _rate_curve(steps: Steps, rise: np.ndarray, fpr_limit: float, points: int) -> Curve:
    """The polyline of the steps up to the limit, thinned."""
    height = np.cumsum(rise, dtype=np.float64)
    height /= height[-1]
    x = np.empty(2 * len(height) + 2)
    y = np.empty_like(x)
    x[0], x[1:-1:2], x[2:-1:2], x[-1] = 0, steps.before / steps.negatives, steps.after / steps.negatives, 1.0
    y[0:-1:2], y[1:-1:2], y[-2:] = np.append(0.0, height), np.append(0.0, height[:-1]), 1.0
    end = int(np.searchsorted(x, fpr_limit, side="right"))
    if end < len(x):
        y_end = y[end - 1] + (y[end] - y[end - 1]) * (fpr_limit - x[end - 1]) / (x[end] - x[end - 1])
        x, y = np.append(x[:end], fpr_limit), np.append(y[:end], y_end)
    return _thinned(x, y, points)


def _thinned(x: np.ndarray, y: np.ndarray, points: int) -> Curve:
    """A rising polyline through fewer of its points, with one corner between two that keeps the area the same."""
    if len(x) <= points:
        return Curve(x, y)
    knots = _evenly(x / x[-1] + y / y[-1], points // 2)
    knots = np.append(0, knots[knots > 0])
    area = np.append(0.0, np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2))
    x_k, y_k = x[knots], y[knots]
    dx, dy = np.diff(x_k), np.diff(y_k)
    above_chord = np.diff(area[knots]) - dx * (y_k[1:] + y_k[:-1]) / 2
    # On the falling diagonal between two knots a corner can take any area that a rising curve can have there.
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(dx * dy > 0, 0.5 - above_chord / (dx * dy), 0.5)
    share = np.clip(share, 0.0, 1.0)
    thin_x, thin_y = np.empty(2 * len(knots) - 1), np.empty(2 * len(knots) - 1)
    thin_x[::2], thin_x[1::2] = x_k, x_k[:-1] + share * dx
    thin_y[::2], thin_y[1::2] = y_k, y_k[1:] - share * dy
    return Curve(thin_x, thin_y)


def _evenly(rising: np.ndarray, points: int) -> np.ndarray:
    """Indices, the last included, at which a rising sequence first reaches each of `points` evenly spaced values."""
    wanted = np.linspace(rising[0], rising[-1], points)
    return np.unique(np.append(np.minimum(np.searchsorted(rising, wanted), len(rising) - 1), len(rising) - 1))
