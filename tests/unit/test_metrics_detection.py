"""Image AUROC against scikit-learn, operating points against a search over all thresholds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from prn.metrics import image_auroc, operating_points


@st.composite
def scored_labels(draw) -> tuple[np.ndarray, np.ndarray]:
    """Up to 40 images of both classes; few distinct scores, so that most of them tie."""
    labels = [True, False, *draw(st.lists(st.booleans(), max_size=38))]
    scores = draw(st.lists(st.integers(0, 6), min_size=len(labels), max_size=len(labels)))
    return np.array(scores, np.float32) / 8, np.array(labels)


@settings(max_examples=150, deadline=None)
@given(scored_labels())
def test_image_auroc_equals_scikit_learn(images):
    scores, labels = images
    assert image_auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert image_auroc(torch.tensor(scores), torch.tensor(labels).int()) == image_auroc(scores, labels)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], []])
def test_without_both_classes(labels):
    assert image_auroc(np.arange(len(labels)), labels) is None
    assert operating_points(np.arange(len(labels)), labels) == []


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, np.nan], [0, 1], "finite.*index 1"),
        ([-np.inf, 0.2], [0, 1], "finite.*index 0"),
        ([0.1, 0.2], [0, 2], "only 0 and 1"),
        ([0.1, 0.2, 0.3], [0, 1], "equally long"),
        ([[0.1, 0.2]], [[0, 1]], "flat"),
    ],
)
def test_wrong_arguments_are_refused(scores, labels, message):
    for function in (image_auroc, operating_points):
        with pytest.raises(ValueError, match=message):
            function(scores, labels)


@settings(max_examples=150, deadline=None)
@given(scored_labels(), st.sampled_from([0.0, 0.01, 0.05, 0.25, 1.0]), st.sampled_from([0.1, 0.5, 0.95, 1.0]))
def test_operating_points_equal_a_search_over_all_thresholds(images, fpr, recall):
    scores, labels = images
    at_fpr, at_recall = operating_points(scores, labels, [fpr], [recall])
    rates = [((scores[~labels] >= cut).mean(), (scores[labels] >= cut).mean()) for cut in (np.inf, *np.unique(scores))]
    assert at_fpr.recall == pytest.approx(max(found for false, found in rates if false <= fpr))
    assert at_recall.fpr == pytest.approx(min(false for false, found in rates if found >= recall))
    for point in (at_fpr, at_recall):
        cut = np.inf if point.threshold is None else point.threshold
        assert point.recall == pytest.approx((scores[labels] >= cut).mean())
        assert point.false_alarms == (scores[~labels] >= cut).sum()
        assert point.missed == (scores[labels] < cut).sum()
        assert point.false_alarms_per_1000_good == pytest.approx(1000 * (scores[~labels] >= cut).mean())


def test_hand_computed_operating_points():
    scores = np.concatenate([np.arange(100) / 100, [0.985, 0.955, 0.5, 0.945]])
    labels = np.arange(104) >= 100
    types = ["good"] * 100 + ["crack", "crack", "dent", "dent"]
    one, five, most, every = operating_points(scores, labels, types=types)
    assert (one.rule, one.threshold, one.recall, one.false_alarms) == ("fpr <= 0.01", 0.985, 0.25, 1)
    assert one.recall_by_type == {"crack": 0.5, "dent": 0.0}
    assert (five.rule, five.threshold, five.recall, five.false_alarms) == ("fpr <= 0.05", 0.945, 0.75, 5)
    assert five.recall_by_type == {"crack": 1.0, "dent": 0.5}
    assert (most.rule, most.recall, most.missed) == ("recall >= 0.95", 1.0, 0)
    assert (every.rule, every.threshold, every.false_alarms_per_1000_good) == ("recall >= 1", 0.5, 500.0)


def test_no_threshold_keeps_the_false_alarms_low_enough():
    point = operating_points([1, 1, 0], [1, 0, 0], fprs=[0.01])[0]
    assert (point.threshold, point.recall, point.fpr, point.missed) == (None, 0.0, 0.0, 1)


def test_rounding_costs_no_false_alarm():
    # 0.29 * 100 is 28.999... in binary: 29 false alarms are still allowed.
    scores = np.append(np.arange(100), 70.5)
    point = operating_points(scores, np.arange(101) == 100, fprs=[0.29])[0]
    assert (point.recall, point.false_alarms) == (1.0, 29)


@pytest.mark.parametrize("rates", [{"fprs": [1.5]}, {"fprs": [-0.1]}, {"recalls": [0.0]}, {"recalls": [1.1]}])
def test_wrong_rates_are_refused(rates):
    with pytest.raises(ValueError, match="must be in"):
        operating_points([0, 1], [0, 1], **rates)


def test_types_of_another_length_are_refused():
    with pytest.raises(ValueError, match="1 types but 2 scores"):
        operating_points([0, 1], [0, 1], types=["good"])
