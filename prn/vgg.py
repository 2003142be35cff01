"""VGG-16's convolutions, the teacher of KDAD: weights by torchvision's names, random ones for tests, block outputs.

Shape suffixes: B batch, 3 colour channels, H and W height and width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prn.errors import DataCorrupt

# Convolutions and channels of the five blocks, each of which ends with a max-pooling (Simonyan and Zisserman, table 1).
BLOCKS: tuple[tuple[int, int], ...] = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def vgg16(state: Mapping[str, Tensor]) -> nn.Sequential:
    """The convolutional part of VGG-16 without gradient, from weights under torchvision's names (`features.*`).

    Entries of the classifier are left aside. Raises DataCorrupt where `state` lacks an entry or has another shape.
    """
    network = _features()
    expected = network.state_dict()
    given = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
    unfit = sorted(key for key, value in expected.items() if key not in given or given[key].shape != value.shape)
    if unfit:
        raise DataCorrupt(
            f"backbone weights do not fit vgg16: {len(unfit)} entries are missing or have another shape (first:"
            f" 'features.{unfit[0]}'); use torchvision's ImageNet weights of vgg16"
        )
    network.load_state_dict({key: given[key] for key in expected})
    return network.requires_grad_(False).eval()


def block_outputs(network: nn.Sequential, pixels_B3HW: Tensor, last: int) -> list[Tensor]:
    """The outputs of the last `last` max-pooling layers of a network of five blocks, shallow ones first."""
    outputs = []
    value = pixels_B3HW
    for layer in network:
        value = layer(value)
        if isinstance(layer, nn.MaxPool2d):
            outputs.append(value)
    return outputs[-last:]


def random_vgg16(generator: torch.Generator, images_B3HW: Tensor) -> dict[str, Tensor]:
    """Random weights under torchvision's names, the same for the same state of `generator`.

    Convolutions are Kaiming-normal, then scaled and shifted so that each channel has mean 0 and deviation 1 on the
    given images before its ReLU: without normalisation inside, deep random features would all look alike. Values are
    rounded to bfloat16.
    """
    network = _features()
    value = images_B3HW
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Conv2d):
                _standardise(layer, value, generator)
            value = layer(value)
    return {f"features.{name}": tensor for name, tensor in network.state_dict().items()}


def _standardise(layer: nn.Conv2d, value: Tensor, generator: torch.Generator) -> None:
    assert layer.bias is not None
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    layer.bias.zero_()
    output = layer(value)
    deviation = output.std(dim=(0, 2, 3))
    layer.weight.copy_((layer.weight / deviation[:, None, None, None]).bfloat16())
    layer.bias.copy_((-output.mean(dim=(0, 2, 3)) / deviation).bfloat16())


def _features() -> nn.Sequential:
    """The layers in torchvision's order, so that they have its names; without its classifier of 124 M weights."""
    layers: list[nn.Module] = []
    before = 3
    for convolutions, channels in BLOCKS:
        for _ in range(convolutions):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
