"""The loss against a plain float64 version of the printed formulas, and its behaviour at the extremes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prn.model.losses import focal_loss, prn_loss


def plain_loss(logits, masks, weight, alpha, gamma, beta) -> tuple[float, float, float]:
    """Equation 5 pixel by pixel in Python's float64."""
    smooth, focal = [], []
    for logit, target in zip(logits, masks, strict=True):
        p = 1 / (1 + math.exp(-logit))
        distance = abs(p - target)
        smooth.append(0.5 * distance**2 / beta if distance < beta else distance - 0.5 * beta)
        p_true = p if target else 1 - p
        focal.append(-(alpha if target else 1 - alpha) * (1 - p_true) ** gamma * math.log(p_true))
    mean = [sum(values) / len(values) for values in (smooth, focal)]
    return mean[0] + weight * mean[1], mean[0], mean[1]


PIXELS = st.lists(st.tuples(st.floats(-15, 15), st.integers(0, 1)), min_size=1, max_size=30)


@given(
    PIXELS, st.floats(0, 10), st.floats(0.05, 0.95), st.sampled_from([0.0, 1.0, 2.0, 4.0]), st.sampled_from([0.1, 1.0])
)
def test_equals_the_plain_formula(pixels, weight, alpha, gamma, beta) -> None:
    logits = torch.tensor([value for value, _ in pixels], dtype=torch.float32)
    masks = torch.tensor([target for _, target in pixels])
    found = prn_loss(
        logits.view(1, 1, 1, -1),
        masks.view(1, 1, 1, -1),
        focal_weight=weight,
        focal_alpha=alpha,
        focal_gamma=gamma,
        smooth_l1_beta=beta,
    )
    expected = plain_loss(logits.double().tolist(), masks.tolist(), weight, alpha, gamma, beta)
    for value, number in zip(found, expected, strict=True):
        assert value.item() == pytest.approx(number, rel=2e-5, abs=1e-7)


def test_defaults_are_the_papers() -> None:
    logits = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    masks = (torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.7).float()
    total, smooth, focal = prn_loss(logits, masks)
    expected = plain_loss(logits.flatten().tolist(), masks.flatten().tolist(), 5, 0.5, 4, 1)
    assert (total.item(), smooth.item(), focal.item()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float32])
def test_masks_of_every_type_give_the_same(dtype: torch.dtype) -> None:
    logits = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    masks = torch.eye(8)[None, None]
    assert torch.equal(prn_loss(logits, masks.to(dtype))[0], prn_loss(logits, masks)[0])


@pytest.mark.parametrize("size", [30.0, 100.0, 1e4])
def test_finite_where_probabilities_round_to_zero_and_one(size: float) -> None:
    logits = torch.tensor([size, -size, size, -size], requires_grad=True)
    masks = torch.tensor([1, 1, 0, 0])
    loss = focal_loss(logits, masks)
    assert loss.item() == pytest.approx(0.5 * (0 + size + size + 0) / 4)  # -log p_t is the logit's size
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == pytest.approx([0, -0.125, 0.125, 0])
    perfect = prn_loss(torch.tensor([[[[size, -size]]]]), torch.tensor([[[[1, 0]]]]))
    assert all(part.item() == pytest.approx(0, abs=1e-9) for part in perfect)


def test_half_precision_logits_are_computed_in_float32() -> None:
    logits = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    parts = prn_loss(logits, torch.zeros(1, 1, 8, 8))
    assert all(part.dtype == torch.float32 for part in parts)
    assert torch.equal(parts[0], prn_loss(logits.float(), torch.zeros(1, 1, 8, 8))[0])


def test_gradient_by_differences() -> None:
    logits = torch.randn(1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    masks = torch.eye(4)[None, None]
    assert torch.autograd.gradcheck(lambda values: focal_loss(values, masks), logits.requires_grad_())
