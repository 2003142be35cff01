"""How many negatives score above each positive: the counts from which AUROC, AP and PRO follow exactly.

Only few pixels are positive, so the negatives are never ranked one by one: what is needed is how many of them are above
each distinct positive score and how many tie with it. Here a sort of bare values and a binary search for each score
give these counts; `prn.metrics.counting` gives them for many values with little sorting.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

SEARCH_GROUP = 1024


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a curve over the false positive rate, from the highest score to the lowest along the last axis.

    At a step the false positives go from `before` to `after` while the curve rises on a straight line; between steps it
    is flat. With one step for each distinct positive score this is exact, and `before` and `after` differ only where
    negatives tie with the score.
    """

    before: np.ndarray  # false positives before the step, ... x T
    after: np.ndarray  # false positives after the step, ... x T
    negatives: np.ndarray | int  # all negatives, ... (one for each curve)

    def area(self, rise: np.ndarray, fpr_limit: float = 1.0) -> np.ndarray:
        """The area under each curve from a false positive rate of 0 to the limit, divided by the limit; in [0, 1].

        rise: ... x T, not necessarily normalised. The curve is interpolated linearly at the limit.
        """
        limit = np.asarray(fpr_limit * np.asarray(self.negatives, np.float64))[..., None]
        # A step of height h adds h times what the limit leaves to its right, counted from the middle of the step.
        left = np.maximum(limit - self.after, 0.0)
        sloped = np.nonzero(self.after > self.before)
        if len(sloped[0]):
            start = np.asarray(self.before[sloped], np.float64)
            width = self.after[sloped] - start
            inside = np.clip(np.broadcast_to(limit, self.after.shape)[sloped] - start, 0.0, width)
            left[sloped] += inside * inside / (2.0 * width)
        whole = limit[..., 0] * rise.sum(axis=-1)
        return np.clip((left * rise).sum(axis=-1) / whole, 0.0, 1.0)

    def passed(self, fpr: float) -> int:
        """How many steps of one curve, from the highest score, keep the false positive rate at or below `fpr`."""
        allowed = fpr * self.negatives + 1e-9  # rounding must not cost one: 0.29 * 100 lies just below 29
        return int(np.searchsorted(self.after, allowed, side="right"))

    def average_precision(self, counts: np.ndarray) -> float:
        """Average precision of one curve, in [0, 1]: the mean precision over the positives (as scikit-learn)."""
        found = np.cumsum(counts, dtype=np.float64)
        return float(np.clip(np.dot(counts, found / (found + self.after)) / found[-1], 0.0, 1.0))


def distinct_descending(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct values from high to low, the order that sorts all values so, and where each value's run starts."""
    order = np.argsort(values)[::-1]
    ordered = values[order]
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    return ordered[starts], order, starts


def count_above(ascending: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of the ascending values are above each ascending threshold, and how many are at least as high.

    The last entry of `ascending` must be infinity; it is not counted.
    """
    below, ties = np.zeros(len(thresholds), np.int64), np.zeros(len(thresholds), np.int64)
    add_counts(ascending, thresholds, below, ties)
    at_least = len(ascending) - 1 - below
    return at_least - ties, at_least


def add_counts(ascending: np.ndarray, thresholds: np.ndarray, below: np.ndarray, ties: np.ndarray) -> None:
    """Add to `below` and `ties` how many of the values are below and equal to each threshold; as in `count_above`."""
    values = ascending[:-1]
    found = _search(values, thresholds)
    below += found
    tied = np.flatnonzero(ascending[found] == thresholds)
    if not len(tied):
        return
    at, tied_thresholds = found[tied], thresholds[tied]
    after = at + 1  # nearly always one value alone: a second search only for what ties further
    further = np.flatnonzero(ascending[after] == tied_thresholds)
    after[further] = np.searchsorted(values, tied_thresholds[further], side="right")
    ties[tied] += after - at


def _search(ascending: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """`np.searchsorted` of ascending thresholds, in groups that each search only their own stretch of the values."""
    found = np.empty(len(thresholds), np.int64)
    bounds = np.append(np.searchsorted(ascending, thresholds[::SEARCH_GROUP]), len(ascending))
    for start, (low, high) in zip(range(0, len(thresholds), SEARCH_GROUP), pairwise(bounds), strict=True):
        group = slice(start, start + SEARCH_GROUP)
        np.add(ascending[low:high].searchsorted(thresholds[group]), low, out=found[group])
    return found
