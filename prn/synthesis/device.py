"""Batches of synthetic images on an accelerator, from the very plans that the CPU path renders.

Plans (numbers and masks) are drawn on the CPU, which is free while the device works on the step before; images stay on
the device as uint8 and are augmented, moved and blended there in the same whole-number arithmetic, so that both paths
give the same bytes. Shapes: B of N images, H x W pixels, C = 3 channels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from prn.synthesis.anomalies import OPACITY_UNITS, Plan
from prn.synthesis.augment import Sharpness, Table
from prn.synthesis.batch import Kind, Synthesizer
from prn.synthesis.spatial import FRACTION_BITS

# OpenCV's weights of red, green and blue in 2^-14 (its integer conversion to grey).
_GREY_WEIGHTS = (4899, 9617, 1868)


@dataclass(frozen=True, slots=True)
class _Colours:
    """Aug_1 of B samples: tables before and after sharpness, uint8 [B, 256, 3], and its factors, int32 [B]."""

    before: torch.Tensor
    factor: torch.Tensor
    after: torch.Tensor


class DeviceSynthesizer:
    """The samples of a `Synthesizer`, rendered in batches on `device`."""

    def __init__(self, synthesizer: Synthesizer, device: torch.device | str) -> None:
        """Copy normals, seen anomalies and textures (uint8) to the device; textures must be an array [T, H, W, 3]."""
        self.synthesizer, self.device = synthesizer, torch.device(device)
        self._pinned = self.device.type == "cuda"
        materials = synthesizer.materials
        textures = materials.textures if len(materials.textures) else materials.normals[:0]
        if not isinstance(textures, np.ndarray):
            raise TypeError(f"textures are a {type(textures).__name__}; the device path needs them as one array")
        texture_NHWC = torch.from_numpy(textures).to(self.device)
        self._pools = {
            "extended": torch.from_numpy(materials.seen).to(self.device),
            "heterologous": _grey(texture_NHWC) if materials.grey else texture_NHWC,
            "homologous": torch.from_numpy(materials.normals).to(self.device),
        }
        self._seen_masks = torch.from_numpy(materials.seen_masks).to(self.device)

    def normals(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Normal images as they are, uint8 [B, H, W, 3] on the device."""
        return self._pools["homologous"][self.indices(indices)]

    def seen(self, indices: Sequence[int] | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Seen anomalies as they are, uint8 [B, H, W, 3], and their masks, uint8 0/1 [B, H, W], on the device."""
        chosen = self.indices(indices)
        return self._pools["extended"][chosen], self._seen_masks[chosen]

    def batch(self, kind: Kind, epoch: int, indices: Iterable[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Images uint8 [B, H, W, 3] and masks uint8 0/1 [B, H, W] on the device, equal to `Synthesizer.batch`."""
        plans = [self.synthesizer.plan(kind, epoch, index) for index in indices]
        return self.render(plans)

    def render(self, plans: Sequence[Plan]) -> tuple[torch.Tensor, torch.Tensor]:
        """The images and masks of these plans, on the device."""
        background_BHWC = self.normals([plan.background for plan in plans])
        parts, positions = [], []
        for strategy, pool in self._pools.items():
            chosen = [position for position, plan in enumerate(plans) if plan.strategy == strategy]
            if chosen:
                parts.append(self._anomalies(pool, [plans[position] for position in chosen]))
                positions += chosen
        anomaly_BHWC = torch.cat(parts)[self.indices(np.argsort(positions))]
        mask_BHW = self._masks(plans)
        beta_B111 = self._there(np.array([plan.opacity for plan in plans], np.int32))[:, None, None, None]
        mixed = anomaly_BHWC.int() * (OPACITY_UNITS - beta_B111) + background_BHWC.int() * beta_B111
        mixed_BHWC = ((mixed + OPACITY_UNITS // 2) >> 8).to(torch.uint8)
        image_BHWC = torch.where(mask_BHW[..., None] > 0, mixed_BHWC, background_BHWC)
        return image_BHWC, self._changed_pixels(plans, background_BHWC, image_BHWC, mask_BHW)

    def indices(self, values: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Whole numbers as int64 on the device."""
        return self._there(np.asarray(values, np.int64))

    def _there(self, array: np.ndarray) -> torch.Tensor:
        """The array on the device. From pageable memory the copy would wait for all that the device still has to do."""
        tensor = torch.from_numpy(array)
        return (tensor.pin_memory() if self._pinned else tensor).to(self.device, non_blocking=True)

    def _masks(self, plans: Sequence[Plan]) -> torch.Tensor:
        masks = np.zeros((len(plans), *self.synthesizer.materials.size), np.uint8)
        for mask, plan in zip(masks, plans, strict=True):
            mask[plan.box.slices] = plan.mask
        return self._there(masks)

    def _changed_pixels(
        self, plans: Sequence[Plan], background_BHWC: torch.Tensor, image_BHWC: torch.Tensor, mask_BHW: torch.Tensor
    ) -> torch.Tensor:
        """The masks without the pixels that change less than the plan asks for; whole where none would stay."""
        if not any(plan.least_pixel_change for plan in plans):
            return mask_BHW
        least_B = self._there(np.array([plan.least_pixel_change for plan in plans], np.int32))
        change_BHW = (image_BHWC.int() - background_BHWC.int()).abs().sum(dim=3)
        kept_BHW = mask_BHW * (change_BHW >= least_B[:, None, None])
        return torch.where((kept_BHW > 0).flatten(1).any(dim=1)[:, None, None], kept_BHW, mask_BHW)

    def _anomalies(self, pool_NHWC: torch.Tensor, plans: Sequence[Plan]) -> torch.Tensor:
        """The anomalies' own colours over the whole image, for plans of one strategy."""
        source_BHWC = pool_NHWC[self.indices([plan.source for plan in plans])]
        source_BHWC = _augmented(source_BHWC, self._colours(plans))
        if plans[0].affine is not None:
            inverse = [plan.affine.inverse for plan in plans if plan.affine is not None]
            return _warped(source_BHWC, self.indices(np.array(inverse)))
        if plans[0].cells is not None:
            cells = np.stack([plan.cells for plan in plans if plan.cells is not None])
            return _rearranged(source_BHWC, self.indices(cells))
        return source_BHWC

    def _colours(self, plans: Sequence[Plan]) -> _Colours:
        identity = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        tables = np.tile(identity, (2, len(plans), 1, 1))
        factors = np.full(len(plans), 256, np.int32)
        for position, plan in enumerate(plans):
            slot = 0
            for step in plan.steps:
                if isinstance(step, Sharpness):
                    factors[position], slot = step.factor, 1
                elif isinstance(step, Table):
                    tables[slot, position] = step.values
        before, after = self._there(tables)
        return _Colours(before, self._there(factors), after)


def _grey(images_NHWC: torch.Tensor) -> torch.Tensor:
    """Images turned grey as OpenCV does, three equal channels; one at a time, to spare memory."""
    grey_NHWC = torch.empty_like(images_NHWC)
    for image_HWC, grey_HWC in zip(images_NHWC, grey_NHWC, strict=True):
        red, green, blue = (image_HWC[..., channel].int() * weight for channel, weight in enumerate(_GREY_WEIGHTS))
        grey_HWC[:] = ((red + green + blue + (1 << 13)) >> 14).to(torch.uint8)[..., None]
    return grey_NHWC


def _looked_up(images_BHWC: torch.Tensor, tables: torch.Tensor) -> torch.Tensor:
    flat = images_BHWC.flatten(1, 2).long()
    return torch.take_along_dim(tables, flat, dim=1).view_as(images_BHWC)


def _augmented(images_BHWC: torch.Tensor, colours: _Colours) -> torch.Tensor:
    """Aug_1: table, sharpness, table."""
    wide = _looked_up(images_BHWC, colours.before).int()
    height, width = images_BHWC.shape[1:3]
    rows = torch.arange(-1, height + 1, device=wide.device).clamp(0, height - 1)
    columns = torch.arange(-1, width + 1, device=wide.device).clamp(0, width - 1)
    padded = wide[:, rows][:, :, columns]
    down = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    total = down[:, :, :-2] + down[:, :, 1:-1] + down[:, :, 2:]
    smooth = torch.div(total + 4 * wide + 6, 13, rounding_mode="floor")
    sharp = (256 * smooth + colours.factor[:, None, None, None] * (wide - smooth) + 128) >> 8
    return _looked_up(sharp.clamp(0, 255), colours.after)


def _gathered(images_BHWC: torch.Tensor, ys_BHW: torch.Tensor, xs_BHW: torch.Tensor) -> torch.Tensor:
    """The pixels at (ys, xs)."""
    batch = torch.arange(len(images_BHWC), device=images_BHWC.device)[:, None, None]
    return images_BHWC[batch, ys_BHW, xs_BHW]


def _warped(images_BHWC: torch.Tensor, inverse_B6: torch.Tensor) -> torch.Tensor:
    """Aug_2: bilinear in 1/32 pixel, borders replicated, as OpenCV's remap with fixed-point maps."""
    height, width = images_BHWC.shape[1:3]
    y = torch.arange(height, device=images_BHWC.device)[None, :, None]
    x = torch.arange(width, device=images_BHWC.device)[None, None, :]
    xx, xy, x0, yx, yy, y0 = inverse_B6.T[:, :, None, None]
    half, drop = 1 << (FRACTION_BITS - 6), FRACTION_BITS - 5
    xs, ys = (xx * x + xy * y + x0 + half) >> drop, (yx * x + yy * y + y0 + half) >> drop
    across, down = (xs & 31)[..., None].int(), (ys & 31)[..., None].int()
    left, right = (xs >> 5).clamp(0, width - 1), ((xs >> 5) + 1).clamp(0, width - 1)
    top, bottom = (ys >> 5).clamp(0, height - 1), ((ys >> 5) + 1).clamp(0, height - 1)
    upper = (32 - across) * _gathered(images_BHWC, top, left) + across * _gathered(images_BHWC, top, right)
    lower = (32 - across) * _gathered(images_BHWC, bottom, left) + across * _gathered(images_BHWC, bottom, right)
    return (((32 - down) * upper + down * lower + 512) >> 10).to(torch.uint8)


def _rearranged(images_BHWC: torch.Tensor, cells_BGG: torch.Tensor) -> torch.Tensor:
    """The grid's cells in the order of `cells`; a smaller source cell repeats its last row or column."""
    height, width, grid = *images_BHWC.shape[1:3], cells_BGG.shape[1]
    device = images_BHWC.device
    tops = torch.arange(grid + 1, device=device) * height // grid
    lefts = torch.arange(grid + 1, device=device) * width // grid
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    row_cell = torch.searchsorted(tops, rows, right=True) - 1
    column_cell = torch.searchsorted(lefts, columns, right=True) - 1
    source_BHW = cells_BGG[:, row_cell[:, None], column_cell[None, :]]
    from_row, from_column = source_BHW // grid, source_BHW % grid
    ys = torch.minimum(tops[from_row] + (rows - tops[row_cell])[:, None], tops[from_row + 1] - 1)
    xs = torch.minimum(lefts[from_column] + (columns - lefts[column_cell])[None, :], lefts[from_column + 1] - 1)
    return _gathered(images_BHWC, ys, xs)
