"""Score maps from gradients: how much each input pixel moves an image's score.

Shape suffixes: B batch, 3 colour channels, H and W height and width of the method's input.
"""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from prn.backbone import normalise
from prn.methods.geometry import on_common_grid, resized_crop


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


def predict_by_gradient(
    score: Callable[[Tensor], Tensor],
    finish: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    *,
    size: int,
    batch_size: int,
    device: torch.device,
) -> tuple[np.ndarray, np.ndarray]:
    """Score maps (B x S x S float32) and image scores (B float64) of uint8 B x S x S x 3.

    The images are scored at `size` x `size`, `batch_size` at once; `finish` turns the gradient [H, W] of one image into
    its map, which is then brought on the images' own grid.
    """
    maps, scores = [], []
    for pixels in method_pixels(images, size, batch_size, device):
        found, gradients = score_and_gradient(score, pixels)
        finished = np.stack([finish(gradient) for gradient in gradients.cpu().numpy()])
        maps.append(on_common_grid(torch.from_numpy(finished), size, images.shape[1]))
        scores.append(found.double().cpu())
    return torch.cat(maps).numpy(), torch.cat(scores).numpy()


def method_pixels(images: np.ndarray, size: int, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """Normalised images [B, 3, size, size], `batch_size` at once, of uint8 N x S x S x 3."""
    for start in range(0, len(images), batch_size):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size])).to(device)
        yield normalise(resized_crop(batch, size, size))
