"""The Prototypical Residual Network: frozen encoder, skip connections with residuals, decoder (paper, Fig. 3).

Shape suffixes: B batch, C channels, H and W height and width, K prototypes, D = C x H x W.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prn.backbone import Backbone, check_input_size
from prn.errors import DataCorrupt, SettingsError
from prn.model.attention import MultiSizeSelfAttention
from prn.model.decoder import Decoder
from prn.model.fusion import MultiScaleFusion
from prn.prototypes import Prototypes, elementwise_distance, half_squared_norms, nearest_row

if TYPE_CHECKING:
    from prn.settings.sections import ModelSettings


class PrototypeResidual(nn.Module):
    """Residuals |F - P*| from fixed prototypes at the three scales (paper, equation 1).

    The prototypes are buffers outside the state dict: they are an artefact of their own. They are kept as rows
    [K, H x W x C], channels last like the features, so that the search needs no copy.
    """

    def __init__(self, prototypes: Prototypes, form: str) -> None:
        super().__init__()
        self.form = form
        self.input_size = prototypes.input_size
        self.channels = tuple(maps.shape[1] for maps in prototypes.maps)
        for scale, maps in enumerate(prototypes.maps, start=1):
            rows = maps.float().permute(0, 2, 3, 1).flatten(1).contiguous()
            self.register_buffer(f"rows{scale}", rows, persistent=False)
            self.register_buffer(f"half_norms{scale}", half_squared_norms(rows), persistent=False)

    @torch.no_grad()
    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Residuals of the features' shapes; the distances are taken in float32."""
        residuals = []
        for scale, feature_BCHW in enumerate(features, start=1):
            rows = self.get_buffer(f"rows{scale}")
            feature_BHWC = feature_BCHW.permute(0, 2, 3, 1)
            index = nearest_row(feature_BHWC.flatten(1), rows, self.get_buffer(f"half_norms{scale}"))
            nearest_BHWC = rows[index].reshape(feature_BHWC.shape)
            residuals.append(elementwise_distance(feature_BHWC, nearest_BHWC, self.form).permute(0, 3, 1, 2))
        return residuals


class SkipConnections(nn.Module):
    """From F_1, F_2, F_3 to the maps that the decoder concatenates (paper, sections 3.1 to 3.3).

    Residuals, fusion of features and of residuals, concatenation, stacked attention, fusion of its outputs; each part
    can be left out by the settings. Without prototypes there are no residuals and C* = F*. Without attention the last
    fusion, which belongs to its outputs, is left out too. `channels` are those of the maps that come out.
    """

    def __init__(
        self,
        channels: Sequence[int],
        prototypes: Prototypes | None,
        settings: "ModelSettings",
        input_size: tuple[int, int] | None,
    ) -> None:
        super().__init__()
        self.residual = PrototypeResidual(prototypes, settings.residual) if prototypes is not None else None
        self.channels = tuple(2 * c if self.residual is not None else c for c in channels)

        def fusion(widths: Sequence[int]) -> MultiScaleFusion:
            return MultiScaleFusion(widths, settings.fusion_norm, settings.upsample_align_corners)

        self.fuse_features = fusion(channels) if settings.fusion else None
        self.fuse_residuals: MultiScaleFusion | None = None
        if settings.fusion and self.residual is not None:
            self.fuse_residuals = self.fuse_features if settings.fusion_shared else fusion(channels)
        self.attention: nn.ModuleList | None = None
        self.fuse_attended: MultiScaleFusion | None = None
        if settings.attention:
            heights = [None if input_size is None else input_size[0] // 2 ** (scale + 1) for scale in (1, 2, 3)]
            self.attention = nn.ModuleList(
                nn.Sequential(
                    *(
                        MultiSizeSelfAttention(
                            width,
                            settings.attention_projection,
                            settings.attention_scale,
                            height=height,
                            shortcut=settings.attention_shortcut,
                        )
                        for _ in range(settings.attention_layers)
                    )
                )
                for width, height in zip(self.channels, heights, strict=True)
            )
            self.fuse_attended = fusion(self.channels) if settings.fusion else None

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Three maps at the features' sizes with `channels` channels, from float32 features.

        Under autocast the maps take its type after the residuals are formed, so that everything later moves half the
        bytes.
        """
        residuals = None if self.residual is None else in_autocast_type(self.residual(features))
        features = in_autocast_type(features)
        maps = list(features) if self.fuse_features is None else self.fuse_features(features)
        if residuals is not None:
            if self.fuse_residuals is not None:
                residuals = self.fuse_residuals(residuals)
            maps = [torch.cat(pair, dim=1) for pair in zip(maps, residuals, strict=True)]
        if self.attention is not None:
            maps = [attend(each) for attend, each in zip(self.attention, maps, strict=True)]
        return maps if self.fuse_attended is None else self.fuse_attended(maps)


def in_autocast_type(maps: Sequence[Tensor]) -> list[Tensor]:
    """The maps in the type of the surrounding autocast, unchanged outside of one."""
    kind = maps[0].device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return list(maps)
    return [each.to(torch.get_autocast_dtype(kind)) for each in maps]


class PRN(nn.Module):
    """Segments defects: normalised images [B, 3, H, W] in, logits [B, 1, H, W] out (sigmoid gives the score map).

    `prototypes` must be given exactly where `settings.prototypes` asks for them; the network then takes images of the
    size they were made at, else any size whose height and width are multiples of 32. `input_size` (height, width) is
    needed for the elementwise attention projection without prototypes only. New weights come from torch's global
    random state; the backbone's frozen part and the prototypes never change.

    Raises SettingsError where settings, backbone and prototypes contradict each other.
    """

    def __init__(
        self,
        backbone: Backbone,
        prototypes: Prototypes | None,
        settings: "ModelSettings",
        input_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        _check_parts(backbone, prototypes, settings)
        self.input_size = prototypes.input_size if prototypes is not None else None
        self.backbone = backbone
        self.skips = SkipConnections(backbone.channels[:3], prototypes, settings, self.input_size or input_size)
        self.decoder = Decoder(backbone.channels, self.skips.channels, settings.upsample_align_corners)
        odds = settings.initial_probability / (1 - settings.initial_probability)
        assert self.decoder.logit.bias is not None
        nn.init.constant_(self.decoder.logit.bias, math.log(odds))

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Logits [B, 1, H, W]. Raises SettingsError for an image size that the network cannot take."""
        size = (image_B3HW.shape[-2], image_B3HW.shape[-1])
        check_input_size(*size)
        if self.input_size is not None and size != self.input_size:
            raise SettingsError(
                f"input of {size[0]} x {size[1]} pixels, but the prototypes were made at "
                f"{self.input_size[0]} x {self.input_size[1]}; use that size or make prototypes at the new one"
            )
        features = self.backbone.frozen(image_B3HW)
        return self.decoder(self.backbone.layer4(features[2]), self.skips(features))

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The parameters that an optimiser gets, in a fixed order."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def prediction_state(self) -> dict[str, Tensor]:
        """What predicting needs besides the frozen stem to layer3 and the prototypes: weights and BatchNorm statistics.

        layer4 is always part of it, trained or not. The tensors are those of the network, not copies.
        """
        frozen = tuple(f"backbone.{name}." for name in ("stem", "layer1", "layer2", "layer3"))
        return {name: value for name, value in self.state_dict().items() if not name.startswith(frozen)}

    def load_prediction_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `prediction_state` gave. Raises DataCorrupt where names or shapes do not fit this network."""
        expected = self.prediction_state()
        differing = sorted(state.keys() ^ expected.keys())
        differing += sorted(
            name for name in state.keys() & expected.keys() if state[name].shape != expected[name].shape
        )
        if differing:
            raise DataCorrupt(
                f"trained weights do not fit the network of these settings: {differing[0]!r}"
                f"{f' and {len(differing) - 1} more entries' if len(differing) > 1 else ''} missing, unknown or of "
                "another shape; train again or use the settings it was trained with"
            )
        self.load_state_dict(dict(state), strict=False)


def _check_parts(backbone: Backbone, prototypes: Prototypes | None, settings: "ModelSettings") -> None:
    if settings.prototypes != (prototypes is not None):
        given = "none were given" if prototypes is None else "some were given"
        raise SettingsError(f"model.prototypes is {str(settings.prototypes).lower()}, but {given}")
    if settings.backbone != backbone.name:
        raise SettingsError(f"model.backbone is {settings.backbone!r}, but the backbone built is {backbone.name!r}")
    if (settings.layer4 == "trainable") != backbone.layer4_is_trained:
        raise SettingsError(f"model.layer4 is {settings.layer4!r}, but the backbone was built the other way")
    if prototypes is not None:
        channels = tuple(maps.shape[1] for maps in prototypes.maps)
        if channels != backbone.channels[:3]:
            raise SettingsError(
                f"prototypes have {channels} channels, {backbone.name} has {backbone.channels[:3]}: "
                "make prototypes with this backbone"
            )
