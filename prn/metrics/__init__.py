"""Exact metrics of anomaly detection and localization: AUROC, average precision (AP), per-region overlap (PRO).

All functions take numpy arrays, torch tensors or sequences of maps of differing sizes, and need nothing else of this
project.
"""

from prn.metrics.detection import image_auroc
from prn.metrics.localization import PixelRanking, localization_metrics, rank_pixels, rank_pixels_in_chunks

__all__ = ["PixelRanking", "image_auroc", "localization_metrics", "rank_pixels", "rank_pixels_in_chunks"]
