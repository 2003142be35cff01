"""Deviation learning: the loss and the top-K score by hand, the trainable encoder, the training's draws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prn.backbone import random_weights
from prn.methods.deviation import (
    PatchHead,
    deviation_loss,
    drawn,
    prior_scores,
    step_decay,
    top_share_mean,
    trainable_encoder,
)


def test_the_loss_by_hand():
    """Prior of mean 1 and deviation 2: scores 4, -3 and 0 deviate by 1.5, -2 and -0.5."""
    prior = torch.tensor([-1.0, 1.0, 3.0])
    assert prior.std() == 2
    scores, anomalous = torch.tensor([4.0, -3.0, 0.0, 20.0]), torch.tensor([1.0, 0.0, 1.0, 1.0])
    # lacking 5 - 1.5, absolute 2, lacking 5 + 0.5, and 9.5 is beyond the margin
    assert deviation_loss(scores, anomalous, prior, margin=5.0).item() == pytest.approx((3.5 + 2 + 5.5 + 0) / 4)


def test_the_loss_pulls_normals_to_the_priors_mean_and_pushes_anomalies_up():
    prior = torch.tensor([-1.0, 0.0, 1.0])
    scores = torch.tensor([3.0, -3.0, 3.0, 7.0], requires_grad=True)
    deviation_loss(scores, torch.tensor([0.0, 0.0, 1.0, 1.0]), prior, margin=5.0).backward()
    assert scores.grad is not None
    assert torch.sign(scores.grad).tolist() == [1, -1, -1, 0]


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=60), st.floats(0.01, 1))
def test_top_share_against_sorting(values, share):
    count = max(1, int(share * len(values)))
    found = top_share_mean(torch.tensor([values], dtype=torch.float64), share)
    assert found.item() == pytest.approx(np.mean(sorted(values)[-count:]), abs=1e-9)


def test_ten_percent_of_a_14_by_14_map_are_19_patches():
    """448 pixels give 196 patches (DevNet, DRA)."""
    scores = torch.arange(196.0)[None].flip(1)
    assert top_share_mean(scores, 0.1).item() == pytest.approx(np.mean(np.arange(177, 196)))


def test_a_patch_head_scores_each_position_by_a_plane():
    head = PatchHead(channels=3, share=0.25)
    features = torch.randn(2, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    weight, bias = head.score.weight.detach().numpy()[0, :, 0, 0], head.score.bias.item()
    patches = np.tensordot(features.numpy(), weight, (1, 0)).reshape(2, -1) + bias
    expected = np.sort(patches, axis=1)[:, -2:].mean(axis=1)
    np.testing.assert_allclose(head(features).detach().numpy(), expected, rtol=1e-5)


def test_every_part_of_the_encoder_is_trained_and_starts_from_the_weights():
    weights = random_weights("resnet18", seed=0)
    encoder = trainable_encoder("resnet18", weights)
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == 11_176_512  # ResNet-18 without classifier
    assert torch.equal(encoder[0][0].weight, weights["conv1.weight"])
    assert all(module.training for module in encoder.modules())
    assert encoder(torch.zeros(2, 3, 64, 96)).shape == (2, 512, 2, 3)


def test_the_prior_is_standard_normal_and_a_function_of_seed_and_step():
    draws = prior_scores(5000, seed=1, step=2)
    assert abs(draws.mean().item()) < 0.05
    assert abs(draws.std().item() - 1) < 0.05
    assert torch.equal(draws, prior_scores(5000, seed=1, step=2))
    assert not torch.equal(draws, prior_scores(5000, seed=1, step=3))


@given(st.integers(1, 40), st.integers(1, 90))
def test_no_image_is_drawn_twice_before_all_are_drawn_once(count, size):
    found = np.bincount(drawn(np.random.default_rng(0), count, size), minlength=count)
    assert found.sum() == size
    assert found.max() - found.min() <= 1


def test_the_learning_rate_falls_after_each_period():
    rate = step_decay(2e-4, every=200, factor=0.1)
    assert [rate(0), rate(199), rate(200), rate(599)] == pytest.approx([2e-4, 2e-4, 2e-5, 2e-6])
