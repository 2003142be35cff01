"""PRO and recall for a part of the defects: by type and by size. The false positives are always those of all images."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from prn.metrics.localization import PixelRanking, check_fpr_limit

AREA_EDGES = (0.001, 0.004, 0.016, 0.064)
PIXEL_FPRS = (0.01, 0.05)
FOUND_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class GroupMetrics:
    """What a group of defect regions scores; rates in [0, 1], None where the group is empty or no negatives exist."""

    name: str
    images: int
    regions: int
    pixels: int
    pro: float | None
    pixel_recall: dict[str, float | None]  # false positive rate of the pixels ("0.01") -> share of the defects' pixels
    region_recall: dict[str, float | None]  # the same -> share of the regions of which at least half is covered


def metrics_by_type(
    ranking: PixelRanking, types: Sequence[str], fpr_limit: float = 0.3, fprs: Sequence[float] = PIXEL_FPRS
) -> list[GroupMetrics]:
    """PRO and recall of each defect type, in alphabetical order.

    types: the type of each image in the order of the score maps ("good" or a defect's name); regions take the type of
    their image. Types without any region (good images, empty masks) are left out. A threshold is the lowest score of a
    defect pixel at which the false positive rate over the pixels of ALL images does not exceed the stated one.
    """
    if len(types) != len(ranking.image_pixels):
        raise ValueError(f"{len(types)} types but {len(ranking.image_pixels)} images")
    of_region = np.array(types, dtype=object)[ranking.region_image]
    return [_metrics(ranking, str(name), of_region == name, fpr_limit, fprs) for name in sorted(set(of_region))]


def metrics_by_area(
    ranking: PixelRanking,
    edges: Sequence[float] = AREA_EDGES,
    fpr_limit: float = 0.3,
    fprs: Sequence[float] = PIXEL_FPRS,
) -> list[GroupMetrics]:
    """PRO and recall of the regions in each bin of area, from small to large, empty bins included.

    edges: rising shares of the image's area; a region belongs to the first bin whose upper edge its share does
    not reach. The default edges are 66, 262, 1049 and 4194 pixels of a 256 x 256 image. Thresholds as in
    `metrics_by_type`.
    """
    if not all(low < high for low, high in pairwise((0, *edges, 1))):
        raise ValueError(f"edges must rise between 0 and 1, found {list(edges)}")
    share = ranking.region_area / ranking.image_pixels[ranking.region_image]
    bins = np.searchsorted(edges, share, side="right")
    bounds = ["0 %", *(f"{100 * edge:g} %" for edge in edges), "100 %"]
    names = [f"{low} to {high}" for low, high in pairwise(bounds)]
    return [_metrics(ranking, name, bins == index, fpr_limit, fprs) for index, name in enumerate(names)]


def _metrics(
    ranking: PixelRanking, name: str, regions: np.ndarray, fpr_limit: float, fprs: Sequence[float]
) -> GroupMetrics:
    check_fpr_limit(fpr_limit)
    count = int(regions.sum())
    exists = ranking.defined and count > 0
    recalls = [_recalls(ranking, regions, fpr) if exists else (None, None) for fpr in fprs]
    return GroupMetrics(
        name=name,
        images=len(np.unique(ranking.region_image[regions])),
        regions=count,
        pixels=int(ranking.region_area[regions].sum()),
        pro=float(ranking.steps.area(ranking.overlap_at(regions), fpr_limit)) if exists else None,
        pixel_recall={f"{fpr:g}": recall[0] for fpr, recall in zip(fprs, recalls, strict=True)},
        region_recall={f"{fpr:g}": recall[1] for fpr, recall in zip(fprs, recalls, strict=True)},
    )


def _recalls(ranking: PixelRanking, regions: np.ndarray, fpr: float) -> tuple[float, float]:
    """The share of the regions' pixels above the threshold, and of regions covered at least by half."""
    passed = ranking.steps.passed(fpr)
    found_pixels = ranking.starts[passed] if passed < len(ranking.starts) else len(ranking.region_of)
    covered = np.bincount(ranking.region_of[:found_pixels], minlength=len(ranking.region_area))[regions]
    area = ranking.region_area[regions]
    return float(covered.sum() / area.sum()), float(np.mean(covered >= FOUND_OVERLAP * area))
