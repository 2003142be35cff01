"""The network block by block: output shapes, parameters and multiply-accumulates of one image.

Everything is computed on torch's meta device: no weights, no data, no memory.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from prn.backbone import BACKBONE_CHANNELS, Backbone, check_input_size
from prn.model.network import PRN
from prn.prototypes import Prototypes

if TYPE_CHECKING:
    from prn.settings.sections import ModelSettings


@dataclass(frozen=True)
class Block:
    """One block: name, output shapes (C x H x W), trainable weights, fixed values and GMAC for one image.

    `fixed` counts frozen weights and the values of prototypes, not BatchNorm statistics. GMAC counts convolutions and
    matrix products, 1e9 multiply-accumulates each.
    """

    name: str
    outputs: tuple[tuple[int, int, int], ...]
    trainable: int
    fixed: int
    gmac: float


def describe(settings: "ModelSettings", size: tuple[int, int] = (256, 256), prototypes: int = 25) -> list[Block]:
    """The blocks in the order of computation for images of `size` (height, width) and K = `prototypes`.

    Raises SettingsError unless height and width are multiples of 32.
    """
    check_input_size(*size)
    network = _meta_network(settings, size, prototypes)
    modules = _blocks(network)
    outputs: dict[nn.Module, tuple[tuple[int, int, int], ...]] = {}

    def record(module: nn.Module, _inputs: Any, result: Tensor | list[Tensor]) -> None:
        maps = [result] if isinstance(result, Tensor) else result
        outputs[module] = tuple((each.shape[1], each.shape[2], each.shape[3]) for each in maps)

    handles = [module.register_forward_hook(record) for module in modules.values()]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, *size, device="meta"))
    for handle in handles:
        handle.remove()
    flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    names = {module: name for name, module in network.named_modules()}
    return [
        _block(label, module, outputs[module], flops.get(f"PRN.{names[module]}", 0))
        for label, module in modules.items()
    ]


def total(blocks: list[Block]) -> Block:
    """The sum of all blocks, with the last one's output."""
    return replace(
        blocks[-1],
        name="whole network",
        trainable=sum(block.trainable for block in blocks),
        fixed=sum(block.fixed for block in blocks),
        gmac=sum(block.gmac for block in blocks),
    )


def as_text(blocks: list[Block]) -> str:
    """An aligned table with a line for the whole network."""
    header = ("block", "output C x H x W", "trainable", "fixed", "GMAC")
    rows = [
        (
            block.name,
            ", ".join(" x ".join(str(number) for number in shape) for shape in block.outputs),
            f"{block.trainable:,}",
            f"{block.fixed:,}",
            f"{block.gmac:.3f}",
        )
        for block in [*blocks, total(blocks)]
    ]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, *rows]
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _meta_network(settings: "ModelSettings", size: tuple[int, int], count: int) -> PRN:
    with torch.device("meta"):
        backbone = Backbone(settings.backbone, None, train_layer4=settings.layer4 == "trainable")
        first, second, third = (
            torch.empty(count, channels, size[0] // stride, size[1] // stride)
            for channels, stride in zip(BACKBONE_CHANNELS[settings.backbone][:3], (4, 8, 16), strict=True)
        )
        prototypes = Prototypes((first, second, third)) if settings.prototypes else None
        return PRN(backbone, prototypes, settings, input_size=size).eval()


def _blocks(network: PRN) -> dict[str, nn.Module]:
    """The modules to list, by label, in the order of computation."""
    backbone, skips, decoder = network.backbone, network.skips, network.decoder
    blocks: dict[str, nn.Module] = {
        "encoder: stem": backbone.stem,
        "encoder: layer1": backbone.layer1,
        "encoder: layer2": backbone.layer2,
        "encoder: layer3": backbone.layer3,
        "bottleneck: layer4": backbone.layer4,
    }
    shared = skips.fuse_residuals is skips.fuse_features
    if skips.fuse_features is not None:
        blocks["fusion of features and residuals" if shared else "fusion of features"] = skips.fuse_features
    if skips.residual is not None:
        blocks["residuals from nearest prototypes"] = skips.residual
    if skips.fuse_residuals is not None and not shared:
        blocks["fusion of residuals"] = skips.fuse_residuals
    if skips.attention is not None:
        for scale, stack in enumerate(skips.attention, start=1):
            assert isinstance(stack, nn.Sequential)
            for layer, module in enumerate(stack, start=1):
                blocks[f"attention: scale {scale}, layer {layer}"] = module
    if skips.fuse_attended is not None:
        blocks["fusion of attended maps"] = skips.fuse_attended
    blocks["decoder: block 3"] = decoder.block3
    blocks["decoder: block 2"] = decoder.block2
    blocks["decoder: block 1"] = decoder.block1
    blocks["decoder: to half size"] = decoder.refine_half
    blocks["decoder: to whole size"] = decoder.refine_whole
    blocks["decoder: logit"] = decoder.logit
    return blocks


def _block(name: str, module: nn.Module, outputs: tuple[tuple[int, int, int], ...], flops: int) -> Block:
    trainable = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    fixed = sum(parameter.numel() for parameter in module.parameters() if not parameter.requires_grad)
    fixed += sum(values.numel() for key, values in module.named_buffers() if key.startswith("rows"))
    return Block(name, outputs, trainable, fixed, flops / 2e9)
