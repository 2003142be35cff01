"""BatchNorm's statistics recalibrated after training: "precise BN" (Wu and Johnson, Rethinking "Batch", 2021).

The running averages of training follow the activations by some ten steps. Where weights still change fast at the last
step, as under a constant learning rate, the network that predicts is then not the one that was trained.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def recalibrate_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the statistics of every BatchNorm in training mode by their plain mean over these batches, in place.

    network: in training mode, its frozen parts not; batches: normalised images [B, 3, H, W], at least one. Weights, the
    running averages' momentum and the statistics of frozen parts stay as they are.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d) and module.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's sign for a plain mean over all batches
    try:
        for batch_B3HW in batches:
            network(batch_B3HW)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
