"""What is said about a cell: metrics, reasons, intervals, groups, the original size."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from prn.evaluation import ScoredTestSet, evaluate
from prn.settings.sections import EvaluateSettings


@pytest.fixture
def scored() -> ScoredTestSet:
    random = np.random.default_rng(4)
    masks = np.zeros((12, 16, 16), np.uint8)
    masks[6:, 4:9, 3:8] = 1
    maps = (random.random((12, 16, 16)) + 0.7 * masks).astype(np.float16)
    labels = np.repeat([0, 1], 6)
    scores = maps.reshape(12, -1).max(1).astype(np.float64)
    types = ["good"] * 6 + ["dent"] * 3 + ["hole"] * 3
    return ScoredTestSet(scores, labels, types, unmasked=0, chunks=lambda: [(maps, masks)])


def test_values_are_scikit_learns_and_lie_in_their_intervals(scored):
    result = evaluate(scored, EvaluateSettings(bootstrap=200))
    ((maps, masks),) = scored.chunks()
    assert result["image_auroc"] == pytest.approx(roc_auc_score(scored.labels, scored.scores), abs=1e-12)
    assert result["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)
    assert result["ap"] == pytest.approx(average_precision_score(masks.ravel(), maps.ravel()), abs=1e-12)
    assert result["reasons"] == {}
    for name in ("image_auroc", "pixel_auroc", "pro", "ap"):
        low, high = result["confidence"][name]
        assert low <= result[name] <= high
    assert [group["name"] for group in result["by_type"]] == ["dent", "hole"]
    assert sum(group["regions"] for group in result["by_area"]) == 6
    assert {point["rule"] for point in result["operating_points"]} >= {"fpr <= 0.01", "fpr <= 0.05"}
    assert "legacy" not in result


def test_legacy_columns_only_on_request(scored):
    result = evaluate(scored, EvaluateSettings(bootstrap=0, legacy=True))
    assert set(result["legacy"]) >= {"legacy_pro_rd4ad_200", "legacy_pro_cflow_1000"}
    assert result["confidence"] == {}


def test_defects_without_masks_leave_the_image_metric_alone(scored):
    unmasked = ScoredTestSet(scored.scores, scored.labels, scored.types, unmasked=2, chunks=scored.chunks)
    result = evaluate(unmasked, EvaluateSettings(bootstrap=0))
    assert result["image_auroc"] is not None
    assert result["pixel_auroc"] is result["pro"] is result["ap"] is None
    assert result["reasons"]["pro"] == "2 defective test images have no mask"


def test_one_class_gives_reasons_not_numbers():
    maps, masks = np.random.default_rng(0).random((4, 8, 8)), np.zeros((4, 8, 8), bool)
    one = ScoredTestSet(maps.max((1, 2)), np.zeros(4, int), ["good"] * 4, unmasked=0, chunks=lambda: [(maps, masks)])
    result = evaluate(one, EvaluateSettings())
    assert [result[name] for name in ("image_auroc", "pixel_auroc", "pro", "ap")] == [None] * 4
    assert set(result["reasons"]) == {"image_auroc", "pixel_auroc", "pro", "ap"}
