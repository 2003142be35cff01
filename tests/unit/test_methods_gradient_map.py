"""Gradient maps: the gradient of a known score by hand, clip and Gaussian against other libraries, the common grid."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from prn.backbone import IMAGENET_STD
from prn.methods.base import BaseMethod
from prn.methods.gradient_map import clipped_at_percentile, score_and_gradient, score_by_gradient, smoothed
from prn.settings.sections import Settings


def test_the_gradient_of_a_known_score_by_hand():
    """score = sum w x^2 has the gradient 2 w x; its sizes are added over channels, times the height."""
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.normal(size=(2, 3, 4, 5)))
    weights = torch.from_numpy(random.normal(size=(3, 4, 5)))
    scores, gradient = score_and_gradient(lambda x: (weights * x.square()).sum(dim=(1, 2, 3)), pixels)
    expected = 4 * np.abs(2 * weights.numpy() * pixels.numpy()).sum(axis=1)
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(scores.numpy(), (weights * pixels.square()).sum(dim=(1, 2, 3)).numpy(), rtol=1e-12)
    assert not pixels.requires_grad


def test_gradients_also_come_inside_no_grad():
    with torch.no_grad():
        _, gradient = score_and_gradient(lambda x: x.sum(dim=(1, 2, 3)), torch.zeros(1, 3, 2, 2))
    assert torch.equal(gradient, torch.full((1, 2, 2), 6.0))


def test_clip_by_hand():
    """Of 0 to 100 the 99th percentile is 99; the minimum, 1 here, is subtracted."""
    gradient = np.arange(1.0, 102.0).reshape(1, 101)
    found = clipped_at_percentile(gradient, 99.0)
    assert found.min() == 0
    assert found.max() == 99
    np.testing.assert_array_equal(found[0, :100], np.arange(100.0))


def test_the_gaussian_is_scipys():
    random = np.random.default_rng(1).random((60, 70))
    np.testing.assert_allclose(
        smoothed(random, 4.0), gaussian_filter(random, 4.0, mode="mirror", truncate=4), rtol=1e-6
    )


@pytest.mark.parametrize("size", [32, 48, 16])
def test_the_map_lies_on_the_images_grid_where_the_score_looks(size):
    """A score that looks at the upper left quarter only: its map is high there, whatever the method's size."""

    def score(pixels):
        return pixels[:, :, : size // 2, : size // 2].square().mean(dim=(1, 2, 3))

    images = np.full((3, 32, 32, 3), 255, np.uint8)

    class ByGradient(BaseMethod):
        needs_backbone, batch_option = False, "batch_size"

        def _score_batch(self, images):
            return score_by_gradient(score, lambda gradient: gradient, self._normalised(images))

    method = ByGradient(Settings(), None, None, torch.device("cpu"))
    method.options = SimpleNamespace(size=size, batch_size=2)
    maps, scores = method.predict(images)
    assert maps.shape == (3, 32, 32)
    assert (maps.dtype, scores.dtype) == (np.float32, np.float64)
    assert maps[:, :14, :14].min() > 0
    assert maps[:, 18:, 18:].max() == 0
    white = [(1 - mean) / deviation for mean, deviation in zip((0.485, 0.456, 0.406), IMAGENET_STD, strict=True)]
    np.testing.assert_allclose(scores, np.mean(np.square(white)), rtol=1e-5)
