"""Score maps from gradients: how much each input pixel moves an image's score.

Shape suffixes: B batch, 3 colour channels, H and W height and width of the method's input.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor


def score_and_gradient(score: Callable[[Tensor], Tensor], pixels_B3HW: Tensor) -> tuple[Tensor, Tensor]:
    """Scores [B] and the sum over channels of |d score / d pixel| [B, H, W], times the image's height.

    `score` must treat each image by itself (BatchNorm in evaluation mode). The factor changes no order; it keeps the
    gradients of large images within the range of half precision, in which score maps are stored.
    """
    with torch.enable_grad():
        pixels = pixels_B3HW.detach().requires_grad_(True)
        scores = score(pixels)
        (gradient,) = torch.autograd.grad(scores.sum(), pixels)
    return scores.detach(), gradient.abs().sum(dim=1) * pixels.shape[-2]


def clipped_at_percentile(gradient: np.ndarray, percentile: float) -> np.ndarray:
    """An image's gradient [H, W] cut at its own `percentile`, its minimum subtracted (DevNet's recipe)."""
    return np.minimum(gradient, np.percentile(gradient, percentile)) - gradient.min()


def smoothed(gradient: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of `sigma` pixels, cut at four sigma, over [H, W]."""
    side = 2 * round(4 * sigma) + 1
    return cv2.GaussianBlur(gradient, (side, side), sigma)


def clipped_and_smoothed(percentile: float, sigma: float) -> Callable[[np.ndarray], np.ndarray]:
    """DevNet's and DRA's map of a gradient: `clipped_at_percentile`, then `smoothed`."""
    return lambda gradient: smoothed(clipped_at_percentile(gradient, percentile), sigma)


def score_by_gradient(
    score: Callable[[Tensor], Tensor], finish: Callable[[np.ndarray], np.ndarray], pixels_B3HW: Tensor
) -> tuple[Tensor, Tensor]:
    """Score maps [B, H, W] and image scores [B]; `finish` turns the gradient [H, W] of one image into its map."""
    scores, gradients = score_and_gradient(score, pixels_B3HW)
    return torch.from_numpy(np.stack([finish(gradient) for gradient in gradients.cpu().numpy()])), scores
