"""ResNet features: the frozen part (stem, layer1 to layer3) and layer4, the bottleneck of the U-Net.

Shape suffixes: B batch, C channels, H and W height and width of the map at hand, 3 colour channels.
"""

import functools
import pickle
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from prn.errors import DataCorrupt, DataMissing, SettingsError
from prn.vgg import random_vgg16

# Channels of layer1 to layer4; the maps are 1/4, 1/8, 1/16 and 1/32 of the input in height and width.
BACKBONE_CHANNELS: dict[str, tuple[int, int, int, int]] = {
    "resnet18": (64, 128, 256, 512),
    "resnet34": (64, 128, 256, 512),
    "resnet50": (256, 512, 1024, 2048),
    "wide_resnet50_2": (256, 512, 1024, 2048),
}
STRIDE = 32  # height and width of an input must be multiples of the deepest map's stride

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images_BHW3: Tensor) -> Tensor:
    """uint8 images [B, H, W, 3] as float32 [B, 3, H, W] with ImageNet's mean and deviation taken out.

    The result keeps the bytes' order (channels last in memory), which the convolutions then keep as well.
    """
    mean, deviation = _imagenet(images_BHW3.device)
    return ((images_BHW3.float() - mean) / deviation).permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=16)
def _imagenet(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's mean and deviation in grey levels, kept on the device: each copy would wait for all that it still has
    to do."""
    with torch.inference_mode(False):
        mean, deviation = ([255 * value for value in values] for values in (IMAGENET_MEAN, IMAGENET_STD))
        return torch.tensor(mean, device=device), torch.tensor(deviation, device=device)


class Backbone(nn.Module):
    """A torchvision ResNet without its classifier, split into a part that never changes and layer4.

    Stem, layer1, layer2 and layer3 hold no gradient and their BatchNorm always uses its stored statistics, whatever
    `train()` is called with (paper, section 3.1: "Model parameters are frozen"). layer4 is trained as the bottleneck
    unless `train_layer4` is false.

    `state` has torchvision's names; entries of the classifier are left aside. Without entries for layer4 that block
    starts from a Kaiming initialisation drawn from `layer4_seed`. `state=None` keeps torchvision's own random start
    and serves shapes only.

    Raises SettingsError for an unknown name and DataCorrupt where `state` lacks an entry or belongs to another network.
    """

    def __init__(
        self,
        name: str = "resnet18",
        state: Mapping[str, Tensor] | None = None,
        train_layer4: bool = True,
        layer4_seed: int = 0,
    ) -> None:
        super().__init__()
        self.name = name
        self.channels = _channels(name)
        self.layer4_is_trained = train_layer4
        network = _resnet(name)
        network.fc = nn.Identity()
        if state is not None:
            _load_state(network, name, state, layer4_seed)
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.layer1, self.layer2, self.layer3 = network.layer1, network.layer2, network.layer3
        self.layer4 = network.layer4  # called with layer3's output, outside `frozen`
        for module in self.frozen_modules():
            module.requires_grad_(False)
        self.layer4.requires_grad_(train_layer4)
        self.train(self.training)

    def frozen_modules(self) -> list[nn.Module]:
        """The modules whose weights and statistics never change."""
        modules = [self.stem, self.layer1, self.layer2, self.layer3]
        return modules if self.layer4_is_trained else [*modules, self.layer4]

    def train(self, mode: bool = True) -> "Backbone":
        """Switch layer4 alone, and only where it is trained; the frozen part stays in evaluation mode."""
        super().train(mode)
        for module in self.frozen_modules():
            module.eval()
        return self

    @torch.no_grad()
    def frozen(self, image_B3HW: Tensor, scales: int = 3) -> tuple[Tensor, ...]:
        """Outputs of layer1 up to layer`scales` for normalised images, without gradient, in float32.

        Autocast is off in here: what matters later is the difference from a prototype, a fifth of the feature itself,
        in which bfloat16 features would be wrong by 6 %.
        Raises SettingsError unless height and width are multiples of 32.
        """
        check_input_size(image_B3HW.shape[-2], image_B3HW.shape[-1])
        features = []
        with without_autocast(image_B3HW.device):
            feature = self.stem(image_B3HW.float())
            for layer in (self.layer1, self.layer2, self.layer3)[:scales]:
                feature = layer(feature)
                features.append(feature)
        return tuple(features)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which operations keep the precision of their inputs; also for tensors without data."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def check_input_size(height: int, width: int) -> None:
    """Raise SettingsError unless both are positive multiples of 32, the stride of the deepest map."""
    if height < STRIDE or width < STRIDE or height % STRIDE or width % STRIDE:
        raise SettingsError(
            f"input of {height} x {width} pixels: height and width must be positive multiples of {STRIDE}; "
            "set the image size to one (256 in the paper)"
        )


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Weights under torchvision's names from a safetensors file or from a torchvision `.pth` (read without unpickling
    code).

    Raises DataMissing where there is no such file and DataCorrupt where it cannot be read as one of the two.
    """
    path = Path(path)
    if not path.is_file():
        raise DataMissing(f"backbone weights {path}: no such file; download the ImageNet weights or name another file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise DataCorrupt(
            f"backbone weights {path}: neither safetensors nor a plain state dict of tensors ({error}); fetch it again"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataCorrupt(f"backbone weights {path}: holds {type(state).__name__}, expected a mapping name -> tensor")
    return dict(state)


def weights_kind(path: str | Path) -> str:
    """`imagenet` or `random`, from the metadata of a backbone file that the stage `weights` wrote."""
    with safetensors.safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("kind", "unknown")


def random_weights(name: str, seed: int) -> dict[str, Tensor]:
    """Random features for tests and demonstrations without ImageNet weights: the same for the same seed.

    Convolutions are Kaiming-normal; each BatchNorm's statistics are those of smooth random images (spectrum 1/f, like
    photographs) rounded to bfloat16, so that activations keep unit scale through all four blocks. `vgg16`, which has no
    BatchNorm, is scaled likewise (`prn.vgg`).
    Raises SettingsError for an unknown name.
    """
    generator = torch.Generator().manual_seed(seed)
    if name == "vgg16":
        return random_vgg16(generator, _smooth_images(generator, size=64))
    _channels(name)
    with torch.device("meta"):
        network = _resnet(name)
    network.fc = nn.Identity()
    network.to_empty(device="cpu")
    _initialise(network, generator)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # plain average over the calibration images
    network.train()
    with torch.no_grad():
        network(_smooth_images(generator))
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(norm.running_mean.bfloat16())
        norm.running_var.copy_(norm.running_var.bfloat16())
    return network.state_dict()


def _resnet(name: str) -> Any:
    from torchvision.models import get_model  # takes seconds to import: only for those who build an encoder

    return get_model(name, weights=None)


def _channels(name: str) -> tuple[int, int, int, int]:
    if name not in BACKBONE_CHANNELS:
        raise SettingsError(f"backbone {name!r} is not known; expected one of {', '.join(BACKBONE_CHANNELS)}")
    return BACKBONE_CHANNELS[name]


def _load_state(network: nn.Module, name: str, state: Mapping[str, Tensor], layer4_seed: int) -> None:
    given = {key: value for key, value in state.items() if not key.startswith("fc.")}
    if not any(key.startswith("layer4.") for key in given):
        _initialise(network.get_submodule("layer4"), torch.Generator().manual_seed(layer4_seed))
        given.update({key: value for key, value in network.state_dict().items() if key.startswith("layer4.")})
    expected = network.state_dict()
    lacking = sorted(expected.keys() - given.keys())
    unknown = sorted(given.keys() - expected.keys())
    wrong = sorted(key for key in expected.keys() & given.keys() if expected[key].shape != given[key].shape)
    for what, keys in (("lack", lacking), ("have the unknown", unknown), ("have another shape for", wrong)):
        if keys:
            raise DataCorrupt(
                f"backbone weights do not fit {name}: they {what} {keys[0]!r}"
                f"{f' and {len(keys) - 1} more' if len(keys) > 1 else ''}; use the ImageNet weights of {name}"
            )
    network.load_state_dict(given)


def _initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Kaiming-normal convolutions (fan out, as torchvision) from `generator`, BatchNorm as the identity."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(part, nn.BatchNorm2d):
            part.reset_parameters()


def _smooth_images(generator: torch.Generator, count: int = 8, size: int = 128) -> Tensor:
    """Random images [count, 3, size, size] of unit variance whose amplitudes fall as 1 / frequency."""
    noise = torch.fft.rfft2(torch.randn(count, 3, size, size, generator=generator))
    row = torch.fft.fftfreq(size)[:, None]
    column = torch.fft.rfftfreq(size)[None, :]
    frequency = (row.square() + column.square()).sqrt().clamp(min=1 / size)
    images = torch.fft.irfft2(noise / frequency, s=(size, size))
    return images / images.std()
