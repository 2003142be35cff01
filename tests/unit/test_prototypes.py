"""Prototypes against scikit-learn's k-means, brute-force distances and hand-made cases."""

import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from prn.backbone import Backbone, normalise, random_weights
from prn.errors import DataCorrupt, DataMissing, SettingsError
from prn.prototypes import (
    Prototypes,
    centred_gram,
    cluster_count,
    cluster_prototypes,
    distance_maps,
    kmeans,
    nearest_index,
    residual,
    untrained_score_map,
)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone("resnet18", random_weights("resnet18", seed=3)).eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Twelve images [12, 64, 96, 3]: three blurred scenes, each four times with noise."""
    draw = np.random.default_rng(0)
    scenes = draw.integers(0, 256, (3, 4, 6, 3)).repeat(16, axis=1).repeat(16, axis=2)
    noise = draw.normal(0, 12, (3, 4, 64, 96, 3))
    return np.clip(scenes[:, None] + noise, 0, 255).astype(np.uint8).reshape(12, 64, 96, 3)


def maps(count: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.relu(torch.randn(count, channels, height, width, generator=generator) + 0.5)


def scikit(rows: torch.Tensor, start: np.ndarray, max_iterations: int) -> KMeans:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = KMeans(len(start), init=rows.numpy()[start], n_init=1, max_iter=max_iterations, tol=0)
        return model.fit(rows.numpy())


def nearest_by_differences(rows: torch.Tensor, centres: torch.Tensor) -> list[int]:
    return [int((centres.double() - row.double()).square().sum(dim=1).argmin()) for row in rows]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("samples", "clusters", "values"), [(40, 4, 300), (90, 9, 5000), (30, 15, 9000), (25, 1, 50)])
def test_kmeans_equals_scikit_learn(seed: int, samples: int, clusters: int, values: int) -> None:
    """Overlapping groups around an offset, so that several iterations are needed and digits cancel."""
    draw = np.random.default_rng(seed)
    groups = draw.normal(0, 0.15, (clusters, values))[draw.integers(0, clusters, samples)]
    rows = torch.from_numpy((3 + groups + draw.normal(0, 0.6, (samples, values))).astype(np.float32))
    start = draw.permutation(samples)[:clusters]
    expected = scikit(rows, start, 300)
    centroids, statistics = kmeans(rows, start, 300)
    assert nearest_by_differences(rows, centroids) == expected.labels_.tolist()
    assert statistics["iterations"] == expected.n_iter_
    assert statistics["inertia"] == pytest.approx(expected.inertia_, rel=1e-4)
    assert statistics["cluster_sizes"] == np.bincount(expected.labels_, minlength=clusters).tolist()
    error = np.linalg.norm(centroids.numpy() - expected.cluster_centers_, axis=1)
    assert (error <= 1e-5 * np.linalg.norm(expected.cluster_centers_, axis=1)).all()


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_stopped_early_equals_scikit_learn_stopped_early(iterations: int) -> None:
    rows = torch.from_numpy(np.random.default_rng(1).normal(size=(80, 20)).astype(np.float32))
    start = np.arange(8)
    expected = scikit(rows, start, iterations)
    centroids, statistics = kmeans(rows, start, iterations)
    assert statistics["iterations"] == expected.n_iter_ == iterations
    np.testing.assert_allclose(centroids, expected.cluster_centers_, rtol=1e-5, atol=1e-5)
    assert statistics["cluster_sizes"] == np.bincount(expected.labels_, minlength=8).tolist()
    assert statistics["inertia"] == pytest.approx(expected.inertia_, rel=1e-4)


def test_empty_cluster_takes_the_farthest_sample() -> None:
    """Both starts are the same point: the second cluster is empty, takes 12, and then wins 9."""
    rows = torch.tensor([[0.0], [0.0], [9.0], [12.0]])
    centroids, statistics = kmeans(rows, np.array([0, 1]))
    assert centroids.tolist() == [[0.0], [10.5]]
    assert statistics["cluster_sizes"] == [2, 2]
    assert statistics["inertia"] == pytest.approx(2 * 1.5**2)
    one_step, _ = kmeans(rows, np.array([0, 1]), max_iterations=1)
    assert one_step.tolist() == [[3.0], [12.0]]  # the mean of 0, 0 and 9; 12 has left it
    expected = scikit(rows, np.array([0, 1]), 300)
    assert expected.cluster_centers_.tolist() == centroids.tolist()


def test_several_empty_clusters_take_different_samples() -> None:
    rows = torch.tensor([[0.0], [0.0], [0.0], [5.0], [20.0]])
    centroids, statistics = kmeans(rows, np.array([0, 1, 2]))
    assert sorted(centroids.flatten().tolist()) == [0, 5, 20]
    assert sorted(statistics["cluster_sizes"]) == [1, 1, 3]
    assert statistics["singletons"] == 2


def test_identical_images_give_identical_prototypes() -> None:
    centroids, statistics = kmeans(torch.full((5, 7), 2.5), np.array([4, 0, 2]))
    assert torch.equal(centroids, torch.full((3, 7), 2.5))
    assert statistics["inertia"] == 0
    assert sum(statistics["cluster_sizes"]) == 5


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 30), st.data())
def test_kmeans_is_a_fixed_point(samples: int, data: st.DataObject) -> None:
    """At the end each centroid is the mean of the samples nearest to it, whatever the points."""
    values = data.draw(st.lists(st.integers(-50, 50), min_size=samples, max_size=samples))
    count = data.draw(st.integers(1, samples - 1))
    rows = torch.tensor(values, dtype=torch.float32)[:, None]
    centroids, statistics = kmeans(rows, np.array(data.draw(st.permutations(range(samples))))[:count])
    assert torch.isfinite(centroids).all()
    distances = (rows - centroids.T).square()
    assert distances.min(dim=1).values.sum().item() == pytest.approx(statistics["inertia"], rel=1e-3, abs=1e-3)
    nearest, second = (distances.sort(dim=1).values[:, place] for place in (0, min(1, count - 1)))
    if count == 1 or ((second - nearest) > 1e-2).all():  # no sample is as near to another centroid
        labels = distances.argmin(dim=1)
        assert torch.bincount(labels, minlength=count).tolist() == statistics["cluster_sizes"]
        means = torch.stack([rows[labels == cluster].mean() for cluster in range(count)])
        torch.testing.assert_close(means, centroids[:, 0], rtol=1e-4, atol=1e-3)


def test_gram_matrix_over_several_chunks() -> None:
    rows = maps(20, 10, 30, 31)
    flat = rows.flatten(1).double()
    flat -= flat.mean(dim=0)
    np.testing.assert_allclose(centred_gram(rows.flatten(1)), flat @ flat.T, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("ratio", "samples", "count"),
    [
        (0.1, 209, 20),
        (0.1, 60, 6),
        (0.1, 9, 1),
        (0.05, 10, 1),
        (1.0, 7, 7),
        (0.29, 100, 29),
        (0.1, 2085, 208),
        (0.2, 5, 1),
    ],
)
def test_cluster_count(ratio: float, samples: int, count: int) -> None:
    assert cluster_count(ratio, samples) == count


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01, float("nan")])
def test_cluster_count_refuses_other_ratios(ratio: float) -> None:
    with pytest.raises(SettingsError, match=r"prototypes\.ratio"):
        cluster_count(ratio, 10)


def test_no_image_and_no_iteration_are_refused(backbone: Backbone) -> None:
    with pytest.raises(SettingsError, match="at least one normal"):
        cluster_prototypes(backbone, np.zeros((0, 64, 64, 3), np.uint8), 0.1)
    with pytest.raises(SettingsError, match=r"prototypes\.max_iterations is 0"):
        kmeans(torch.zeros(4, 2), np.array([0]), max_iterations=0)


def test_prototypes_are_means_of_feature_maps(backbone: Backbone, images: np.ndarray) -> None:
    found = cluster_prototypes(backbone, images, ratio=0.25, seed=1)
    features = backbone.frozen(normalise(torch.from_numpy(images)))
    assert found.input_size == (64, 96)
    for scale, (feature, prototypes) in enumerate(zip(features, found.maps, strict=True), start=1):
        statistics = found.stats[f"layer{scale}"]
        assert prototypes.shape == (3, *feature.shape[1:])
        assert (statistics["samples"], statistics["clusters"]) == (12, 3)
        labels = np.array(nearest_by_differences(feature.flatten(1), prototypes.flatten(1)))
        assert statistics["cluster_sizes"] == np.bincount(labels, minlength=3).tolist()
        for cluster in range(3):
            torch.testing.assert_close(prototypes[cluster], feature[labels == cluster].mean(dim=0))
        assert statistics["singletons"] == (np.bincount(labels, minlength=3) == 1).sum()


def test_same_seed_same_bytes_other_seed_other_start(backbone: Backbone, images: np.ndarray) -> None:
    first, again, other = (cluster_prototypes(backbone, images, 0.5, seed=seed, max_iterations=1) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.maps, again.maps, strict=True))
    assert first.stats == again.stats
    assert not torch.equal(first.maps[0], other.maps[0])


def test_batches_change_nothing_but_rounding(backbone: Backbone, images: np.ndarray) -> None:
    whole = cluster_prototypes(backbone, images, 0.25, seed=1)
    parts = cluster_prototypes(backbone, images, 0.25, seed=1, batch_size=5)
    for a, b in zip(whole.maps, parts.maps, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_ratio_one_makes_every_map_a_prototype(backbone: Backbone, images: np.ndarray) -> None:
    found = cluster_prototypes(backbone, images, 1.0)
    features = backbone.frozen(normalise(torch.from_numpy(images)))
    for feature, prototypes in zip(features, found.maps, strict=True):
        assert torch.equal(feature, prototypes)
        assert nearest_index(feature, prototypes).tolist() == list(range(12))
        assert torch.equal(residual(feature, prototypes), torch.zeros_like(feature))
    assert found.stats["layer1"]["singletons"] == 12


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("count", [1, 7, 25])
def test_nearest_index_equals_broadcasting(channels_last: bool, count: int) -> None:
    features, prototypes = maps(6, 8, 12, 10), maps(count, 8, 12, 10, seed=1)
    if channels_last:
        features, prototypes = (each.to(memory_format=torch.channels_last) for each in (features, prototypes))
    expected = (features[:, None] - prototypes[None]).double().square().sum(dim=(2, 3, 4)).argmin(dim=1)
    assert torch.equal(nearest_index(features, prototypes), expected)


def test_nearest_index_is_computed_in_float32_under_autocast() -> None:
    """Prototypes that differ by less than bfloat16 can tell."""
    base = maps(1, 8, 12, 10)
    prototypes = torch.cat([base * (1 + step / 400) for step in range(8)])
    with torch.autocast("cpu", torch.bfloat16):
        assert nearest_index(prototypes, prototypes).tolist() == list(range(8))


@pytest.mark.parametrize("form", ["absolute", "squared"])
def test_residual_equals_the_printed_formula(form: str) -> None:
    features, prototypes = maps(3, 4, 5, 6), maps(4, 4, 5, 6, seed=1)
    found = residual(features, prototypes, form)
    for feature, result in zip(features, found, strict=True):
        norms = [((feature - prototype) ** 2).sum().sqrt().item() for prototype in prototypes]
        nearest = prototypes[int(np.argmin(norms))]
        for channel in range(4):
            for row in range(5):
                for column in range(6):
                    difference = feature[channel, row, column].item() - nearest[channel, row, column].item()
                    expected = abs(difference) if form == "absolute" else difference**2
                    assert result[channel, row, column].item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_unknown_form_of_the_residual_is_refused() -> None:
    with pytest.raises(SettingsError, match="'cosine'"):
        residual(maps(1, 2, 2, 2), maps(1, 2, 2, 2), "cosine")


def test_distance_maps_and_untrained_score() -> None:
    sizes = ((4, 8, 12), (8, 4, 6), (16, 2, 3))
    features = [maps(2, *size) for size in sizes]
    prototypes = Prototypes(tuple(maps(3, *size, seed=9) for size in sizes))  # type: ignore[arg-type]
    found = distance_maps(features, prototypes.maps)
    total = np.zeros((2, 32, 48))
    for feature, centres, result in zip(features, prototypes.maps, found, strict=True):
        nearest = nearest_by_differences(feature.flatten(1), centres.flatten(1))
        expected = np.sqrt(((feature - centres[nearest]).double().numpy() ** 2).sum(axis=1))
        np.testing.assert_allclose(result, expected, rtol=1e-5)
        total += np.stack([_bilinear(each, 32, 48) for each in expected]) / 3
    np.testing.assert_allclose(untrained_score_map(features, prototypes, (32, 48)), total, rtol=1e-4)


def _bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear up-sampling with pixel centres at halves, edges repeated."""

    def weights(source: int, target: int) -> np.ndarray:
        matrix = np.zeros((target, source))
        for pixel in range(target):
            position = min(max((pixel + 0.5) * source / target - 0.5, 0), source - 1)
            lower = min(int(position), source - 2)
            matrix[pixel, lower] += 1 - (position - lower)
            matrix[pixel, lower + 1] += position - lower
        return matrix

    return weights(image.shape[0], height) @ image @ weights(image.shape[1], width).T


def _small() -> Prototypes:
    return Prototypes((maps(3, 4, 8, 8), maps(3, 8, 4, 4), maps(3, 16, 2, 2)), {"layer1": {"iterations": 4}})


def test_saved_in_float32_and_loaded_unchanged(tmp_path) -> None:
    prototypes = _small()
    prototypes.save(tmp_path / "p.safetensors")
    loaded = Prototypes.load(tmp_path / "p.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(prototypes.maps, loaded.maps, strict=True))
    assert loaded.stats == prototypes.stats
    prototypes.save(tmp_path / "again.safetensors")
    assert (tmp_path / "p.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_half_precision_is_half_the_size_and_rounds_by_one_part_in_2048(tmp_path) -> None:
    prototypes = _small()
    prototypes.save(tmp_path / "whole.safetensors")
    prototypes.save(tmp_path / "half.safetensors", dtype="float16")
    loaded = Prototypes.load(tmp_path / "half.safetensors")
    for a, b in zip(prototypes.maps, loaded.maps, strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=2**-11, atol=2**-24)
    values = sum(each.numel() for each in prototypes.maps)
    sizes = [(tmp_path / name).stat().st_size for name in ("whole.safetensors", "half.safetensors")]
    assert sizes[0] - sizes[1] == pytest.approx(2 * values, abs=32)


def test_saving_refuses_what_does_not_fit(tmp_path) -> None:
    prototypes = _small()
    with pytest.raises(SettingsError, match=r"prototypes\.precision is 'int8'"):
        prototypes.save(tmp_path / "p.safetensors", dtype="int8")
    prototypes.maps[1][0, 0, 0, 0] = 1e5
    with pytest.raises(SettingsError, match="layer2 do not fit into float16"):
        prototypes.save(tmp_path / "p.safetensors", dtype="float16")
    assert not (tmp_path / "p.safetensors").exists()


def test_loading_names_the_file(tmp_path) -> None:
    with pytest.raises(DataMissing, match=r"absent\.safetensors"):
        Prototypes.load(tmp_path / "absent.safetensors")
    _small().save(tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-10])
    save_file({"layer1": torch.zeros(1)}, tmp_path / "lacking.safetensors")
    save_file(
        {f"layer{scale}": torch.zeros(1, 1, 1, 1) for scale in (1, 2, 3)},
        tmp_path / "header.safetensors",
        metadata={"stats": "{"},
    )
    for name in ("cut", "lacking", "header"):
        with pytest.raises(DataCorrupt, match=rf"{name}\.safetensors"):
            Prototypes.load(tmp_path / f"{name}.safetensors")


def test_statistics_are_plain_json(backbone: Backbone, images: np.ndarray) -> None:
    statistics = cluster_prototypes(backbone, images, 0.25).stats
    assert json.loads(json.dumps(statistics)) == statistics
    assert set(statistics) == {"layer1", "layer2", "layer3"}


def test_prototypes_move_between_devices() -> None:
    moved = _small().to("meta")
    assert all(each.device.type == "meta" for each in moved.maps)
    assert moved.stats == _small().stats
