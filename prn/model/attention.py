"""Multi-size Self-Attention: heads that attend between patches of four sizes (paper, section 3.3, equation 3).

Shape suffixes: B batch, C channels of a head, H and W height and width, N patches, L length of a flattened patch (c^s).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prn.errors import SettingsError

HEADS = 4  # patch sizes h, h/2, h/4, h/8


def patch_sizes(height: int) -> tuple[int, ...]:
    """Patch sizes of the four heads for a map of this height: h, h/2, h/4, h/8, rounded up and at least 1."""
    return tuple(max(1, math.ceil(height / 2**s)) for s in range(HEADS))


def to_patches(map_BCHW: Tensor, patch: int) -> Tensor:
    """Flattened patches [B, N, L], row by row, L = patch x patch x C; zeros fill up the right and the lower edge.

    The channels come last within a patch, as in the memory of the maps, so that whole runs of it are copied. Queries
    and keys in one order give the same products as in any other.
    """
    batch, channels, height, width = map_BCHW.shape
    rows, columns = math.ceil(height / patch), math.ceil(width / patch)
    below, right = rows * patch - height, columns * patch - width
    if below or right:
        map_BCHW = F.pad(map_BCHW, (0, right, 0, below))
    tiles = map_BCHW.permute(0, 2, 3, 1).reshape(batch, rows, patch, columns, patch, channels)
    return tiles.transpose(2, 3).reshape(batch, rows * columns, patch * patch * channels)


def from_patches(patches_BNL: Tensor, patch: int, height: int, width: int) -> Tensor:
    """Inverse of `to_patches`: the map [B, C, height, width], what was filled up cut off again."""
    batch = patches_BNL.shape[0]
    rows, columns = math.ceil(height / patch), math.ceil(width / patch)
    tiles = patches_BNL.reshape(batch, rows, columns, patch, patch, -1).transpose(2, 3)
    map_BHWC = tiles.reshape(batch, rows * patch, columns * patch, -1)[:, :height, :width]
    return map_BHWC.permute(0, 3, 1, 2)


def patch_attention(query_BCHW: Tensor, key_BCHW: Tensor, value_BCHW: Tensor, patch: int, scale: str) -> Tensor:
    """softmax(Q K^T / c^s) V over the patches of one head, as a map of the input's shape (equation 3).

    `scale`: "dim" divides by c^s as printed, "sqrt" by its square root; c^s is the length of a flattened patch.
    """
    height, width = value_BCHW.shape[-2:]
    if patch >= height and patch >= width:
        return value_BCHW  # one patch: the softmax over one element is 1
    query, key, value = (to_patches(part, patch) for part in (query_BCHW, key_BCHW, value_BCHW))
    length = query.shape[-1]
    logits = torch.bmm(query, key.transpose(1, 2)) / (length if scale == "dim" else math.sqrt(length))
    return from_patches(torch.bmm(logits.softmax(dim=-1), value), patch, height, width)


class ElementwiseProjection(nn.Module):
    """One scale and one shift for each element of a flattened patch: the diagonal of the printed full matrix."""

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.weight = nn.Parameter(torch.ones(1, channels, patch, patch))
        self.bias = nn.Parameter(torch.zeros(1, channels, patch, patch))

    def forward(self, map_BCHW: Tensor) -> Tensor:
        height, width = map_BCHW.shape[-2:]
        tiles = (1, 1, math.ceil(height / self.patch), math.ceil(width / self.patch))
        weight, bias = (part.repeat(tiles)[:, :, :height, :width] for part in (self.weight, self.bias))
        return map_BCHW * weight + bias


class ResidualBlock(nn.Module):
    """ReLU(BN(conv3x3(ReLU(BN(conv3x3(x))))) + shortcut(x)); the shortcut is 1x1 with BN where the widths differ."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, feature_BCHW: Tensor, shortcut_BCHW: Tensor | None = None) -> Tensor:
        """`shortcut_BCHW`, of the output's shape, takes the place of the block's own shortcut."""
        shortcut = self.shortcut(feature_BCHW) if shortcut_BCHW is None else shortcut_BCHW
        return F.relu(self.body(feature_BCHW) + shortcut, inplace=True)


class MultiSizeSelfAttention(nn.Module):
    """One MSA at one scale: four heads of different patch sizes, concatenated, then a residual block.

    The printed fully-connected embeddings of whole patches cannot be built (up to 2.7e11 weights each), so
    `projection` chooses what stands for them:

    - "grouped": 1x1 convolutions; each head has a quarter of the channels,
    - "full": 1x1 convolutions; each head has all channels,
    - "elementwise": a scale and a shift for each element of a patch; each head has all channels. The number of
      weights then depends on `height`, the height of the map, which must be given and met.

    `shortcut` chooses what the residual block adds at its end: "input", what the whole attention got, as in M2TR, from
    which the paper takes its text; or "heads", the concatenated heads. With the printed scale three of four heads are
    close to an average over patches, so that "heads" leaves a quarter of the channels to carry where a defect lies.

    Queries, keys and values are formed at the map's own size; where a patch size does not divide it they are filled up
    with zeros on the right and below, and the result is cut.
    """

    def __init__(
        self,
        channels: int,
        projection: str = "grouped",
        scale: str = "dim",
        height: int | None = None,
        shortcut: str = "input",
    ) -> None:
        super().__init__()
        self.projection = projection
        self.scale = scale
        self.shortcut_from = shortcut
        self.height = height
        self.head_channels = channels // HEADS if projection == "grouped" else channels
        self.embed: nn.Module
        if projection == "elementwise":
            if height is None:
                raise SettingsError(
                    "model.attention_projection 'elementwise' has weights for each element of a patch: "
                    "the network needs the input size when it is built"
                )
            self.embed = nn.ModuleList(
                nn.ModuleList(ElementwiseProjection(channels, patch) for _ in range(3)) for patch in patch_sizes(height)
            )
        else:
            # One convolution for the queries of all heads, then all keys, then all values.
            self.embed = nn.Conv2d(channels, 3 * HEADS * self.head_channels, kernel_size=1)
        self.block = ResidualBlock(HEADS * self.head_channels, channels)
        if shortcut == "input":
            self.block.shortcut = nn.Identity()  # not used: no weights for it

    def heads(self, feature_BCHW: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(query, key, value) maps of each head; the value thrice where the head has one patch, which is its output."""
        if isinstance(self.embed, nn.ModuleList):
            return [tuple(project(feature_BCHW) for project in head) for head in self.embed]  # type: ignore[attr-defined]
        assert isinstance(self.embed, nn.Conv2d)
        assert self.embed.bias is not None
        own, width = self.head_channels, feature_BCHW.shape[-1]
        if patch_sizes(feature_BCHW.shape[-2])[0] < width:
            parts = self.embed(feature_BCHW).split(own, dim=1)
            return [(parts[s], parts[s + HEADS], parts[s + 2 * HEADS]) for s in range(HEADS)]

        def without_first(rows: Tensor) -> Tensor:
            """All but those of the first head's query and key: it has one patch, and the softmax over one is 1."""
            return torch.cat([rows[own : HEADS * own], rows[(HEADS + 1) * own :]])

        weight, bias = (without_first(rows) for rows in (self.embed.weight, self.embed.bias))
        parts = F.conv2d(feature_BCHW, weight, bias).split(own, dim=1)
        queries, keys, values = parts[: HEADS - 1], parts[HEADS - 1 : -HEADS], parts[-HEADS:]
        return [(values[0], values[0], values[0]), *zip(queries, keys, values[1:], strict=True)]

    def forward(self, feature_BCHW: Tensor) -> Tensor:
        """Map of the input's shape. Raises SettingsError where an elementwise projection meets another height."""
        height = feature_BCHW.shape[-2]
        if self.projection == "elementwise" and height != self.height:
            raise SettingsError(f"attention was built for maps of height {self.height}, found {height}")
        heads = zip(self.heads(feature_BCHW), patch_sizes(height), strict=True)
        attended = [patch_attention(*parts, patch=patch, scale=self.scale) for parts, patch in heads]
        return self.block(torch.cat(attended, dim=1), feature_BCHW if self.shortcut_from == "input" else None)
