"""Between the stage's images and a method's own size and crop: what it sees, and its maps back on the common grid.

Shape suffixes: B batch, S the stage's side, C the crop's side.
"""

import torch.nn.functional as F
from torch import Tensor


def resized_crop(images_BSS3: Tensor, resize: int, crop: int) -> Tensor:
    """uint8 images [B, S, S, 3] at `resize` x `resize`, their centre cut out: float32 [B, C, C, 3], grey levels.

    Bilinear with antialias, as the stage's own resizing; untouched where the size fits already.
    """
    images = images_BSS3.permute(0, 3, 1, 2).float()
    if images.shape[-1] != resize:
        images = F.interpolate(images, size=(resize, resize), mode="bilinear", antialias=True)
    start = (resize - crop) // 2
    return images[..., start : start + crop, start : start + crop].permute(0, 2, 3, 1)


def on_common_grid(maps_BCC: Tensor, resize: int, size: int) -> Tensor:
    """Score maps [B, C, C] of a centre crop out of `resize` x `resize` on the common grid [B, size, size].

    Pixels that the crop left out take the score of the crop's nearest pixel, so that none is unscored; the whole is
    then resized (bilinear) where the grid has another size.
    """
    crop = maps_BCC.shape[-1]
    before = (resize - crop) // 2
    after = resize - crop - before
    maps = F.pad(maps_BCC[:, None], (before, after, before, after), mode="replicate")
    if resize != size:
        maps = F.interpolate(maps, size=(size, size), mode="bilinear", antialias=size < resize)
    return maps[:, 0].contiguous()
