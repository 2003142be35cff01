"""How many negatives score above each positive: the counts from which AUROC, AP and PRO follow exactly.

Sorting is the cost of these metrics. Only few pixels are positive, so the negatives are never ranked one by one: their bare
values are sorted, and two binary searches per distinct positive score count the negatives above it and tied with it.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Steps:
    """A curve's steps, one for each distinct positive score, from the highest score to the lowest.

    At a step the false positive rate goes from `false_above / negatives` to `false_from / negatives` (they differ where
    negatives tie with the score), while the curve rises by `rise / total_rise` on a straight line; between steps it is flat.
    """

    false_above: np.ndarray  # negatives with a higher score
    false_from: np.ndarray  # negatives with this score or a higher one
    negatives: int

    def area(self, rise: np.ndarray, fpr_limit: float = 1.0) -> float:
        """The area under the curve from a false positive rate of 0 to the limit, divided by the limit; in [0, 1].

        `rise` need not be normalised. The curve is interpolated linearly at the limit.
        """
        limit = fpr_limit * self.negatives
        start = self.false_above.astype(np.float64)
        width = self.false_from - start
        # A step of height h contributes h times the mean, over its width, of what is left of the limit.
        inside = np.clip(limit - start, 0.0, width)
        with np.errstate(divide="ignore", invalid="ignore"):
            cut = inside * inside / (2.0 * width)
        left = np.where(width > 0, cut, 0.0) + np.maximum(limit - self.false_from, 0.0)
        return float(np.clip(np.dot(left, rise) / (limit * rise.sum()), 0.0, 1.0))

    def average_precision(self, counts: np.ndarray) -> float:
        """Average precision, the mean precision over the positives (scikit-learn's definition); in [0, 1]."""
        found = np.cumsum(counts, dtype=np.float64)
        return float(np.clip(np.dot(counts, found / (found + self.false_from)) / found[-1], 0.0, 1.0))


def distinct_descending(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct values from high to low, the order that sorts all of them so, and where each value's run starts."""
    order = np.argsort(values)[::-1]
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return ordered[starts], order, starts


def count_above(sorted_values: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For thresholds from high to low: how many of the ascending values are above each, and how many at least equal."""
    ascending = thresholds[::-1]
    below = np.searchsorted(sorted_values, ascending, side="left")
    upto = below.copy()
    if len(sorted_values):
        tied = sorted_values[np.minimum(below, len(sorted_values) - 1)] == ascending
        upto[tied] = np.searchsorted(sorted_values, ascending[tied], side="right")
    return len(sorted_values) - upto[::-1], len(sorted_values) - below[::-1]
