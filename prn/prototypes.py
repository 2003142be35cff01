"""Prototypes of normal feature maps: k-means over whole maps, the nearest prototype and the residual from it.

Paper, section 3.1. Shape suffixes: B batch, C channels, H and W height and width of a map, K prototypes, N images,
D = C x H x W, the length of a flattened map.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from prn.backbone import Backbone, normalise, without_autocast
from prn.errors import DataCorrupt, DataMissing, SettingsError
from prn.provenance.files import atomic_write

SCALES = (1, 2, 3)
PRECISIONS = {"float32": torch.float32, "float16": torch.float16}
GRAM_COLUMNS = 4096  # flattened features multiplied at a time: bounds the memory and the length of a float32 sum
GRAM_STRIPES = 4  # the symmetric product in stripes up to the diagonal: 5/8 of the work


@dataclass
class Prototypes:
    """Prototype maps [K, C, H, W] of layer1, layer2 and layer3 and how their clustering went.

    `stats` has one entry per scale ("layer1", ...): samples, clusters, iterations, inertia (sum of squared distances),
    cluster_sizes (images by cluster) and singletons (clusters of one image, which has a residual of zero).
    """

    maps: tuple[Tensor, Tensor, Tensor]
    stats: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the images whose features these are."""
        height, width = self.maps[0].shape[-2:]
        return 4 * height, 4 * width

    def to(self, device: str | torch.device) -> "Prototypes":
        """The same prototypes with their maps on `device`."""
        first, second, third = self.maps
        return Prototypes((first.to(device), second.to(device), third.to(device)), self.stats)

    def save(self, path: str | Path, dtype: str = "float32") -> None:
        """Write a safetensors file in "float32" or "float16", the statistics as JSON in its header.

        Raises SettingsError for another `dtype`, or where a value does not fit into half precision.
        """
        if dtype not in PRECISIONS:
            raise SettingsError(f"prototypes.precision is {dtype!r}; expected one of {', '.join(PRECISIONS)}")
        tensors = {
            f"layer{scale}": maps.detach().cpu().to(PRECISIONS[dtype]).contiguous()
            for scale, maps in zip(SCALES, self.maps, strict=True)
        }
        for name, maps in tensors.items():
            if not torch.isfinite(maps).all():
                raise SettingsError(f"prototypes of {name} do not fit into {dtype}; set prototypes.precision: float32")
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata={"stats": json.dumps(self.stats, sort_keys=True)})

    @classmethod
    def load(cls, path: str | Path) -> "Prototypes":
        """Read what `save` wrote, as float32. Raises DataMissing or DataCorrupt, naming the file."""
        path = Path(path)
        if not path.is_file():
            raise DataMissing(f"prototypes {path}: no such file; run the stage that makes prototypes")
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                maps = tuple(file.get_tensor(f"layer{scale}").float() for scale in SCALES)
                stats = json.loads((file.metadata() or {}).get("stats", "{}"))
        except (safetensors.SafetensorError, json.JSONDecodeError) as error:
            raise DataCorrupt(f"prototypes {path}: {error}; delete the file and make it again") from error
        return cls((maps[0], maps[1], maps[2]), stats)


def cluster_count(ratio: float, samples: int) -> int:
    """K = max(1, floor(ratio x samples)), with the ratio as the decimal fraction that is written in the settings.

    Raises SettingsError unless 0 < ratio <= 1 and there is a sample.
    """
    if not 0 < ratio <= 1:
        raise SettingsError(f"prototypes.ratio is {ratio}; expected a share of the normal images, above 0 and up to 1")
    if samples < 1:
        raise SettingsError("prototypes need at least one normal training image, found none")
    return max(1, math.floor(Fraction(str(ratio)) * samples))


def cluster_prototypes(
    backbone: Backbone,
    images_NHW3: Tensor | np.ndarray,
    ratio: float,
    *,
    max_iterations: int = 300,
    seed: int = 0,
    batch_size: int = 8,
    device: str | torch.device = "cpu",
) -> Prototypes:
    """Prototypes of uint8 RGB images [N, H, W, 3], independently at each of the three scales.

    K random images start Lloyd's k-means under the L2 distance between whole maps (paper, section 3.1). Features are
    held in host memory, layer1's first and then, at three quarters of its size, layer2's and layer3's; `device`
    computes them and their products. A ratio of 1 makes every map a prototype. Raises SettingsError for a ratio
    outside (0, 1], no image, or a wrong image size.
    """
    images = torch.as_tensor(images_NHW3)
    count = cluster_count(ratio, len(images))
    backbone = backbone.to(device)
    maps, stats = [], {}
    for scales in ((1,), (2, 3)):
        features = _extract(backbone, images, scales, batch_size, device)
        for scale in scales:
            feature_NCHW = features.pop(scale)
            start = np.random.RandomState([seed, scale]).permutation(len(images))[:count]
            centroids_KD, stats[f"layer{scale}"] = kmeans(feature_NCHW.flatten(1), start, max_iterations, device)
            maps.append(centroids_KD.reshape(count, *feature_NCHW.shape[1:]))
            del feature_NCHW, centroids_KD
    return Prototypes((maps[0], maps[1], maps[2]), stats)


def _extract(
    backbone: Backbone, images: Tensor, scales: Sequence[int], batch_size: int, device: str | torch.device
) -> dict[int, Tensor]:
    """Feature maps [N, C, H, W] of the given scales, float32 in host memory."""
    features: dict[int, Tensor] = {}
    for first in range(0, len(images), batch_size):
        batch = images[first : first + batch_size].to(device)
        outputs = backbone.frozen(normalise(batch), scales=max(scales))
        for scale in scales:
            if scale not in features:
                features[scale] = torch.empty(len(images), *outputs[scale - 1].shape[1:])
            features[scale][first : first + len(batch)] = outputs[scale - 1]
    return features


def kmeans(
    rows_ND: Tensor, start: np.ndarray, max_iterations: int = 300, device: str | torch.device = "cpu"
) -> tuple[Tensor, dict[str, Any]]:
    """Centroids [K, D] of Lloyd's k-means from the samples `start` (K indices), and its statistics.

    A centroid is a mean of samples, so every distance follows from the N x N matrix of inner products, which is
    computed once: iterations cost N x N x K, whatever D is. The result is that of k-means on the rows themselves.
    Besides `rows_ND` it needs the Gram matrix, the centroids and N x 4096 values. With as many clusters as samples
    `rows_ND` itself is returned.
    """
    samples, count = len(rows_ND), len(start)
    if count == samples:  # every sample is a prototype
        sizes = np.ones(samples, dtype=np.int64)
        return rows_ND, _statistics(sizes, iterations=0, inertia=0.0)
    gram = centred_gram(rows_ND, device)
    members, labels, iterations, inertia = lloyd(gram, start, max_iterations)
    sizes = np.bincount(labels, minlength=count)
    return cluster_means(rows_ND, members, count), _statistics(sizes, iterations, inertia)


def cluster_means(rows_ND: Tensor, members: np.ndarray, count: int) -> Tensor:
    """Means [K, D] of the rows of each of `count` clusters, none of which is empty."""
    means = torch.zeros(count, rows_ND.shape[1])
    for row, cluster in zip(rows_ND, members.tolist(), strict=True):
        means[cluster] += row
    return means / torch.from_numpy(np.bincount(members, minlength=count))[:, None]


def centred_gram(rows_ND: Tensor, device: str | torch.device = "cpu") -> np.ndarray:
    """Inner products [N, N] of the rows less their mean, summed in float64 over chunks of the columns.

    Taking the mean out changes no distance and keeps the digits that the distances are made of.
    """
    samples = len(rows_ND)
    total = torch.zeros(samples, samples, dtype=torch.float64, device=device)
    # float32 chunks on a CPU; float64 elsewhere, where float32 may mean TF32.
    precision = torch.float32 if total.device.type == "cpu" else torch.float64
    stripe = max(1, math.ceil(samples / GRAM_STRIPES))
    for first in range(0, rows_ND.shape[1], GRAM_COLUMNS):
        columns = rows_ND[:, first : first + GRAM_COLUMNS].to(device)
        columns = (columns - columns.mean(dim=0)).to(precision)
        for top in range(0, samples, stripe):  # up to the diagonal
            bottom = min(top + stripe, samples)
            total[top:bottom, :bottom] += columns[top:bottom] @ columns[:bottom].T
    lower = total.cpu().numpy()
    return np.tril(lower) + np.tril(lower, -1).T


def lloyd(gram: np.ndarray, start: np.ndarray, max_iterations: int) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Lloyd's k-means on inner products [N, N], from the samples `start`.

    Returns the cluster whose mean each sample is in, the cluster whose mean is nearest to it (the same after
    convergence), the number of iterations and the sum of squared distances. It ends when no label changes, or after
    `max_iterations`. A cluster without a sample takes the one that is farthest from its own mean.
    """
    if max_iterations < 1:
        raise SettingsError(f"prototypes.max_iterations is {max_iterations}; expected at least 1")
    count, samples = len(start), len(gram)
    weights = np.zeros((count, samples))
    weights[np.arange(count), start] = 1
    distances = _squared_distances(gram, weights)
    previous: np.ndarray | None = None
    iterations = 0
    while iterations < max_iterations:
        iterations += 1
        labels = distances.argmin(axis=1)
        members = _fill_empty(labels, distances)
        weights[:] = 0
        weights[members, np.arange(samples)] = 1 / np.bincount(members, minlength=count)[members]
        distances = _squared_distances(gram, weights)
        if previous is not None and np.array_equal(labels, previous):
            break
        previous = labels
    else:
        labels = distances.argmin(axis=1)
    inertia = float(distances[np.arange(samples), labels].sum())
    return members, labels, iterations, inertia


def _squared_distances(gram: np.ndarray, weights_KN: np.ndarray) -> np.ndarray:
    """Squared distances [N, K] from the samples to the weighted means of samples."""
    cross = weights_KN @ gram
    norms = np.einsum("kn,kn->k", cross, weights_KN)
    return np.maximum(np.diag(gram)[:, None] - 2 * cross.T + norms, 0)


def _fill_empty(labels: np.ndarray, distances_NK: np.ndarray) -> np.ndarray:
    """Labels in which each empty cluster has taken the farthest sample of a cluster that keeps another one."""
    sizes = np.bincount(labels, minlength=distances_NK.shape[1])
    if sizes.all():
        return labels
    labels = labels.copy()
    farthest = distances_NK[np.arange(len(labels)), labels]
    for empty in np.flatnonzero(sizes == 0):
        taken = np.where(sizes[labels] > 1, farthest, -1).argmax()
        sizes[labels[taken]] -= 1
        labels[taken] = empty
        sizes[empty] = 1
    return labels


def _statistics(sizes: np.ndarray, iterations: int, inertia: float) -> dict[str, Any]:
    return {
        "samples": int(sizes.sum()),
        "clusters": len(sizes),
        "iterations": iterations,
        "inertia": inertia,
        "cluster_sizes": sizes.tolist(),
        "singletons": int((sizes == 1).sum()),
    }


def nearest_index(feature_BCHW: Tensor, prototypes_KCHW: Tensor) -> Tensor:
    """Index [B] (int64) of the prototype with the smallest L2 distance to each whole map (paper, equation 1).

    ||f - p||^2 = ||f||^2 - 2 f.p + ||p||^2: one matrix product; nothing of the size B x K x C x H x W is made.
    """
    if prototypes_KCHW.is_contiguous():
        feature, prototypes = feature_BCHW.flatten(1), prototypes_KCHW.flatten(1)
    else:
        feature = feature_BCHW.permute(0, 2, 3, 1).flatten(1)
        prototypes = prototypes_KCHW.permute(0, 2, 3, 1).flatten(1)
    return nearest_row(feature, prototypes, half_squared_norms(prototypes))


def half_squared_norms(rows_KD: Tensor) -> Tensor:
    """||p||^2 / 2 of each row, the part of the nearest prototype's search that does not depend on the image."""
    return torch.linalg.vector_norm(rows_KD, dim=1).square() / 2


def nearest_row(feature_BD: Tensor, rows_KD: Tensor, half_norms_K: Tensor) -> Tensor:
    """Index [B] of the row nearest to each flattened map, computed in float32 also under autocast."""
    with without_autocast(feature_BD.device):
        return torch.addmm(half_norms_K, feature_BD.float(), rows_KD.T, alpha=-1).argmin(dim=1)


def residual(feature_BCHW: Tensor, prototypes_KCHW: Tensor, form: str = "absolute") -> Tensor:
    """Element by element distance [B, C, H, W] to the nearest prototype (paper, equation 1).

    `form`: "absolute" is |F - P*|, "squared" is (F - P*)^2.
    """
    nearest = prototypes_KCHW[nearest_index(feature_BCHW, prototypes_KCHW)]
    return elementwise_distance(feature_BCHW, nearest, form)


def elementwise_distance(feature: Tensor, prototype: Tensor, form: str) -> Tensor:
    """|feature - prototype| for "absolute", its square for "squared", in float32; another form is a SettingsError."""
    difference = feature.float() - prototype
    if form == "absolute":
        return difference.abs()
    if form == "squared":
        return difference.square()
    raise SettingsError(f"model.residual is {form!r}; expected 'absolute' or 'squared'")


def distance_maps(features: Sequence[Tensor], prototypes: Sequence[Tensor]) -> list[Tensor]:
    """For each scale the map [B, H, W] of ||F - P*||_2 over the channels, P* the nearest prototype of the whole map."""
    return [
        torch.linalg.vector_norm(residual(feature, maps), dim=1)
        for feature, maps in zip(features, prototypes, strict=True)
    ]


def untrained_score_map(features: Sequence[Tensor], prototypes: Prototypes, size: tuple[int, int]) -> Tensor:
    """Score map [B, *size] of the untrained control: the mean of the scales' distance maps, bilinearly up-sampled.

    The scales count as they are, without normalisation: any weight would have to be chosen on data.
    """
    maps = distance_maps(features, prototypes.maps)
    scaled = [F.interpolate(each[:, None], size=size, mode="bilinear", align_corners=False)[:, 0] for each in maps]
    return torch.stack(scaled).mean(dim=0)
