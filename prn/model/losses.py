"""The loss of PRN: smooth L1 on the score map plus a weighted focal loss (paper, section 3.5, equation 5)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def focal_loss(logits_B1HW: Tensor, masks_B1HW: Tensor, alpha: float = 0.5, gamma: float = 4.0) -> Tensor:
    """Mean over all pixels of -alpha_t (1 - p_t)^gamma log p_t, a scalar >= 0 (Lin et al., ICCV 2017).

    p_t is the probability given to the pixel's true class, alpha_t is `alpha` on defects and 1 - `alpha` elsewhere.
    Masks are 0 or 1 in any dtype. Everything follows from the signed logit, so that no logarithm of a rounded
    probability is taken: the loss and its gradient are finite for every finite logit.
    """
    target = masks_B1HW.to(logits_B1HW.dtype)
    signed = logits_B1HW * (2 * target - 1)
    weight = alpha * target + (1 - alpha) * (1 - target)
    return -(weight * torch.sigmoid(-signed).pow(gamma) * F.logsigmoid(signed)).mean()


def prn_loss(
    logits_B1HW: Tensor,
    masks_B1HW: Tensor,
    *,
    focal_weight: float = 5.0,
    focal_alpha: float = 0.5,
    focal_gamma: float = 4.0,
    smooth_l1_beta: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """(total, smooth L1, focal) as float32 scalars; total = smooth L1 + `focal_weight` x focal (equation 5).

    `logits_B1HW` is the network's output before the sigmoid; `masks_B1HW` is 0 or 1, any dtype, the same shape.
    The smooth L1 is taken on probabilities, mean over all pixels.
    """
    logits = logits_B1HW.float()
    smooth_l1 = F.smooth_l1_loss(torch.sigmoid(logits), masks_B1HW.float(), beta=smooth_l1_beta)
    focal = focal_loss(logits, masks_B1HW, focal_alpha, focal_gamma)
    return smooth_l1 + focal_weight * focal, smooth_l1, focal
