"""Folding a network for prediction: each BatchNorm goes into the convolution before it, and is gone.

In evaluation mode a BatchNorm is one scale and one shift a channel, which the convolution's weights can take over. The
network then computes the same function up to rounding, with fewer passes over memory.
"""

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module) -> int:
    """Fold in place every BatchNorm that follows a convolution among a module's children; the number that was folded.

    The children stand in the order of computation in all of this project's modules and torchvision's ResNets. Between
    `UpTransform`'s two stands a bilinear up-sampling: its weights add up to one, so that a scale and a shift a channel
    pass through it unchanged.
    """
    network.eval()
    folded = 0
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (name, convolution), (norm_name, norm) in pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, norm_name, nn.Identity())
                folded += 1
    return folded
