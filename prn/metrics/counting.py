"""How many of very many values lie below each of some thresholds, and how many tie with it; exact, with little sorting.

A value's bin comes from a few operations on whole arrays, and a table by bin names the first threshold that can be
above the value; one comparison with that threshold then places the value for good. The bins rise with the values
whatever the rounding, so the counts are exact. Where several thresholds share a bin its values are set aside and
sorted; with several bins for each threshold these are few.
"""

from collections.abc import Callable

import numpy as np

from prn.metrics.ranking import add_counts

PIECE = 1 << 16  # values placed at a time: their temporaries stay in the processor's cache
FEWEST_BINS, MOST_BINS, BINS_PER_THRESHOLD = 1 << 12, 1 << 22, 8
# Values set aside are sorted in blocks, each of which is searched once for every threshold: blocks grow with the number
# of thresholds until the sorting outweighs the searches, but never beyond the largest size.
SORTED_VALUES, SORTED_VALUES_PER_THRESHOLD, MOST_SORTED_VALUES = 1 << 23, 16, 1 << 26

# Fills the bins (int32, third) of values (first); the second is room for as many float32.
Binning = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


class ThresholdCounter:
    """Counts finite values below and equal to each of T distinct ascending thresholds (float32 or float64).

    most: upper bound of the values between two calls of `take_counts`. Memory: 8 bytes for each of at most 4 million
    bins, 16 bytes for the larger of T and 262,144, 40 bytes a threshold, and room for the values set aside: all, or 8
    million or 16 for each threshold at a time, whichever is less, and never more than 67 million.
    """

    def __init__(self, ascending: np.ndarray, most: int) -> None:
        self.ascending = ascending
        self.seen = 0
        self._next = np.append(ascending, [np.inf, np.inf]).astype(ascending.dtype)
        self._places, self._ties = (_Tally(len(ascending) + 2) for _ in range(2))
        size = max(SORTED_VALUES, SORTED_VALUES_PER_THRESHOLD * len(ascending))
        self._aside = np.empty(max(PIECE, min(most, size, MOST_SORTED_VALUES)) + 1, ascending.dtype)
        self._set_aside = 0
        self._sorted_below, self._sorted_ties = (np.zeros(len(ascending), np.int64) for _ in range(2))
        self._binning: Binning | None = None
        self._table = np.empty(0, np.int32)
        self._room = tuple(np.empty(PIECE, kind) for kind in (np.float32, np.int32, np.int32, ascending.dtype, bool))

    def add(self, values: np.ndarray) -> bool:
        """Count the values, of any shape; False, with nothing promised for the counts, where one is not finite."""
        flat = values.ravel()
        for start in range(0, len(flat), PIECE):
            piece = flat[start : start + PIECE].astype(self.ascending.dtype, copy=False)
            if not (np.isfinite(piece.min()) and np.isfinite(piece.max())):
                return False
            if len(self.ascending):
                self._place(piece)
            self.seen += len(piece)
        return True

    def take_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Values below each threshold, and those equal to it, T each, of all that were added since the last call."""
        self._sort_aside()
        thresholds = len(self.ascending)
        below = np.cumsum(self._places.take()[:thresholds]) + self._sorted_below
        ties = self._ties.take()[:thresholds] + self._sorted_ties
        self._sorted_below[:], self._sorted_ties[:] = 0, 0
        return below, ties

    def _place(self, piece: np.ndarray) -> None:
        if self._binning is None:
            self._binning, self._table = _best_table(self.ascending, piece)
        floats, bins, place, following, reached = (room[: len(piece)] for room in self._room)
        self._binning(piece, floats, bins)
        self._table.take(bins, out=place, mode="clip")
        self._next.take(place, out=following, mode="clip")
        self._ties.add(place[np.flatnonzero(np.equal(piece, following, out=reached))])
        aside = np.flatnonzero(np.greater(place, len(self.ascending), out=reached))
        if len(aside):
            self._put_aside(piece[aside])
        place += np.greater_equal(piece, following, out=reached)
        self._places.add(place)

    def _put_aside(self, values: np.ndarray) -> None:
        if self._set_aside + len(values) >= len(self._aside):
            self._sort_aside()
        self._aside[self._set_aside : self._set_aside + len(values)] = values
        self._set_aside += len(values)

    def _sort_aside(self) -> None:
        if not self._set_aside:
            return
        block = self._aside[: self._set_aside + 1]
        block[:-1].sort()
        block[-1] = np.inf
        add_counts(block, self.ascending, self._sorted_below, self._sorted_ties)
        self._set_aside = 0


class _Tally:
    """How often each of the integers from 0 to `size` - 1 was added, counted a block at a time."""

    def __init__(self, size: int) -> None:
        self._counts = np.zeros(size, np.int64)
        self._block = np.empty(max(4 * PIECE, size), np.intp)
        self._filled = 0

    def add(self, values: np.ndarray) -> None:
        if self._filled + len(values) > len(self._block):
            self._count()
        self._block[self._filled : self._filled + len(values)] = values
        self._filled += len(values)

    def take(self) -> np.ndarray:
        """The counts since the last call."""
        self._count()
        taken, self._counts = self._counts, np.zeros_like(self._counts)
        return taken

    def _count(self) -> None:
        self._counts += np.bincount(self._block[: self._filled], minlength=len(self._counts))
        self._filled = 0


def _best_table(ascending: np.ndarray, sample: np.ndarray) -> tuple[Binning, np.ndarray]:
    """The binning, even or logarithmic, that sets fewer values of the sample aside, and its table."""
    wanted = min(max(BINS_PER_THRESHOLD * len(ascending), FEWEST_BINS), MOST_BINS)
    bins = 1 << (wanted - 1).bit_length()
    candidates = []
    for binning in (_even_bins(ascending, bins), _logarithmic_bins(ascending, bins)):
        if binning is not None:
            table = _table(ascending, binning)
            found = np.empty(len(sample), np.int32)
            binning(sample, np.empty(len(sample), np.float32), found)
            aside = np.count_nonzero(table.take(found, mode="clip") > len(ascending))
            candidates.append((aside, binning, table))
    return min(candidates, key=lambda candidate: candidate[0])[1:]


def _table(ascending: np.ndarray, binning: Binning) -> np.ndarray:
    """For each bin the number of thresholds in lower bins; T + 1 where the bin has several thresholds of its own."""
    count = len(ascending)
    bins = np.empty(count, np.int32)
    binning(ascending, np.empty(count, np.float32), bins)
    table = np.repeat(np.arange(count, dtype=np.int32), np.diff(bins, prepend=-1))
    table[bins[1:][bins[1:] == bins[:-1]]] = count + 1
    return table


def _even_bins(ascending: np.ndarray, bins: int) -> Binning | None:
    """Bins of equal width from the lowest to the highest threshold; None where float32 cannot hold the width."""
    low = ascending[0]
    with np.errstate(over="ignore", divide="ignore"):
        scale = np.float32(bins) / np.float32(ascending[-1] - low)
    if not (np.isfinite(scale) and scale > 0):
        return None

    def binning(values: np.ndarray, floats: np.ndarray, found: np.ndarray) -> None:
        with np.errstate(over="ignore"):
            np.subtract(values, low, out=floats, casting="same_kind")
            np.multiply(floats, scale, out=floats)
        np.add(floats, 1, out=floats)
        np.clip(floats, 0, bins + 1, out=floats)
        found[:] = floats

    return binning


def _logarithmic_bins(ascending: np.ndarray, bins: int) -> Binning:
    """As many bins to each power of two, from the bits of float32: fine near 0, where saturated scores crowd."""
    ends = np.array([ascending[0], ascending[-1]])
    keys = np.empty(2, np.int32)
    _ordered_bits(ends, np.empty(2, np.float32), keys)
    low, high = keys.tolist()
    shift = ((high - low) // bins).bit_length()

    def binning(values: np.ndarray, floats: np.ndarray, found: np.ndarray) -> None:
        _ordered_bits(values, floats, found)
        np.clip(found, low - 1, high, out=found)
        np.right_shift(found, shift, out=found)
        np.subtract(found, (low >> shift) - 1, out=found)

    return binning


def _ordered_bits(values: np.ndarray, floats: np.ndarray, found: np.ndarray) -> None:
    """Integers that rise as the values do, from the bits of float32."""
    with np.errstate(over="ignore"):
        np.add(values, 0, out=floats, casting="same_kind")  # and -0.0 becomes 0.0
    bits = floats.view(np.int32)
    np.right_shift(bits, 31, out=found)
    np.bitwise_and(found, 0x7FFFFFFF, out=found)
    np.bitwise_xor(bits, found, out=found)
