import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prn.metrics import counting
from prn.metrics.counting import ThresholdCounter


def counted_plainly(values, thresholds):
    below = [(values < threshold).sum() for threshold in thresholds]
    return np.array(below, int), np.array([(values == threshold).sum() for threshold in thresholds], int)


def counted(pieces, thresholds):
    counter = ThresholdCounter(thresholds, sum(piece.size for piece in pieces))
    assert all(counter.add(piece) for piece in pieces)
    return counter.take_counts()


def assert_counts(pieces, thresholds):
    found, expected = counted(pieces, thresholds), counted_plainly(np.concatenate(pieces), thresholds)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@st.composite
def values_and_thresholds(draw):
    """Values of any size, tiny, huge, signed zeros and ties included, in one of the two float types."""
    dtype, width = draw(st.sampled_from([(np.float32, 32), (np.float64, 64)]))
    wild = st.floats(allow_nan=False, allow_infinity=False, width=width)
    tame = st.integers(-3, 3).map(float) | st.sampled_from([-0.0, 1e-30, -1e-30, 1.0000001, 0.9999999])
    kinds = draw(st.sampled_from([wild, tame, wild | tame]))
    values = draw(hnp.arrays(dtype, st.integers(1, 60), elements=kinds.map(dtype)))
    more = draw(hnp.arrays(dtype, st.integers(1, 20), elements=kinds.map(dtype)))
    share = draw(st.integers(0, len(values)))
    return values, np.unique(np.concatenate([more, values[:share]]))


@settings(max_examples=200, deadline=None)
@given(values_and_thresholds(), st.integers(1, 4), st.sampled_from([2, 8, 4096]), st.integers(1, 70))
def test_counts_equal_plain_comparisons(case, pieces, bins, piece):
    values, thresholds = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "MOST_BINS", bins)
        patch.setattr(counting, "FEWEST_BINS", min(bins, 16))
        patch.setattr(counting, "PIECE", piece)
        patch.setattr(counting, "SORTED_VALUES", piece)
        patch.setattr(counting, "SORTED_VALUES_PER_THRESHOLD", 0)
        assert_counts(np.array_split(values, pieces), thresholds)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["even", "saturated", "quantised", "crowded", "far"])
def test_counts_of_many_values(kind, dtype):
    random = np.random.default_rng(0)
    values = random.normal(size=300_000)
    if kind == "saturated":
        values = 1 / (1 + np.exp(-8 * (values - 2)))
    elif kind == "quantised":
        values = np.round(values * 20) / 20
    elif kind == "crowded":  # nearly all within what one bin holds
        values = 1 + 1e-6 * values
        values[:10] = random.normal(size=10) * 1e6
    elif kind == "far":
        values = values.astype(np.float32) * np.float32(6e37)
    values = values.astype(dtype)
    thresholds = np.unique(values[::17])
    expected_below = np.searchsorted(np.sort(values), thresholds)
    expected_ties = np.searchsorted(np.sort(values), thresholds, side="right") - expected_below
    below, ties = counted(np.array_split(values, 7), thresholds)
    np.testing.assert_array_equal(below, expected_below)
    np.testing.assert_array_equal(ties, expected_ties)


def test_few_values_are_set_aside_whatever_the_distribution(monkeypatch):
    aside = []
    put = ThresholdCounter._put_aside
    monkeypatch.setattr(
        ThresholdCounter, "_put_aside", lambda self, values: (aside.append(len(values)), put(self, values))
    )
    values = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    for changed in (values, 1 / (1 + np.exp(-8 * (values - 2))), np.round(20 * values)):
        aside.clear()
        counted([changed], np.unique(changed[::30]))
        assert sum(aside) < 0.1 * len(values)


def test_counts_start_anew():
    thresholds = np.array([0.0, 1.0], np.float32)
    counter = ThresholdCounter(thresholds, 3)
    for values, expected in (([-1, 0, 0.5], ([1, 3], [1, 0])), ([1, 1, 2], ([0, 0], [0, 2]))):
        counter.add(np.array(values, np.float32))
        below, ties = counter.take_counts()
        assert (below.tolist(), ties.tolist()) == expected


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(wrong):
    for thresholds in (np.array([0.0]), np.empty(0)):
        assert not ThresholdCounter(thresholds, 3).add(np.array([0.0, wrong, 1.0]))
