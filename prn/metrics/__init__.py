"""Exact metrics of anomaly detection and localization: AUROC, average precision (AP), per-region overlap (PRO).

All functions take numpy arrays, torch tensors or sequences of maps of differing sizes, and need nothing else of this
project. A function whose name ends in `_in_chunks` reads its images piece by piece and keeps memory bounded.
"""

from prn.metrics.bootstrap import (
    Interval,
    image_auroc_interval,
    localization_intervals,
    localization_intervals_in_chunks,
)
from prn.metrics.curves import Curve, image_roc_curve, precision_recall_curve, pro_curve, roc_curve
from prn.metrics.detection import OperatingPoint, image_auroc, operating_points
from prn.metrics.groups import GroupMetrics, metrics_by_area, metrics_by_type
from prn.metrics.legacy import EXPLANATION as LEGACY_EXPLANATION
from prn.metrics.legacy import legacy_pro, legacy_pro_in_chunks
from prn.metrics.localization import PixelRanking, localization_metrics, rank_pixels, rank_pixels_in_chunks
from prn.metrics.resolution import resize_score_map

__all__ = [
    "LEGACY_EXPLANATION",
    "Curve",
    "GroupMetrics",
    "Interval",
    "OperatingPoint",
    "PixelRanking",
    "image_auroc",
    "image_auroc_interval",
    "image_roc_curve",
    "legacy_pro",
    "legacy_pro_in_chunks",
    "localization_intervals",
    "localization_intervals_in_chunks",
    "localization_metrics",
    "metrics_by_area",
    "metrics_by_type",
    "operating_points",
    "precision_recall_curve",
    "pro_curve",
    "rank_pixels",
    "rank_pixels_in_chunks",
    "resize_score_map",
    "roc_curve",
]
