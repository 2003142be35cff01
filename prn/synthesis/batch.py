"""The synthesizer of one category: every sample is a pure function of (seed, kind, epoch, index)."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from prn.errors import DataMissing, PrnError, SettingsError
from prn.synthesis.anomalies import Plan, plan_extended, plan_simulated
from prn.synthesis.foreground import ForegroundRule, find_foregrounds, foreground_rule
from prn.synthesis.materials import Materials
from prn.synthesis.render import render

if TYPE_CHECKING:
    from prn.fitting import FitInputs
    from prn.settings.sections import SynthesisSettings

Kind = Literal["extended", "simulated"]
KINDS: tuple[Kind, ...] = ("extended", "simulated")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """A synthetic image uint8 [H, W, 3], its mask uint8 0/1 [H, W], and what was drawn for it."""

    image: np.ndarray
    mask: np.ndarray
    plan: Plan


def is_grey(images: Iterable[np.ndarray]) -> bool:
    """Whether the three channels are equal in every image."""
    return all(np.array_equal(i[..., 0], i[..., 1]) and np.array_equal(i[..., 0], i[..., 2]) for i in images)


class Synthesizer:
    """Makes the extended and simulated anomalies of one category on the CPU (paper 3.4, supplement A)."""

    def __init__(
        self,
        normals: np.ndarray,
        seen: np.ndarray,
        seen_masks: np.ndarray,
        textures: Sequence[np.ndarray] | np.ndarray,
        *,
        settings: "SynthesisSettings",
        seed: int,
        foreground: ForegroundRule | None = None,
    ) -> None:
        """Find the foregrounds of the normals and check what the settings need.

        normals, seen: uint8 [N, H, W, 3]; seen_masks: 0/1 [N, H, W]; textures: uint8 [T, H, W, 3] or any sequence of
        such images; foreground: the category's rule, None for the whole image.
        Raises `SettingsError` for an absurd foreground coverage or settings that need what is absent, `DataMissing` for
        missing normals or textures, `PrnError` for images that do not fit together.
        """
        self.settings, self.seed = settings, int(seed)
        masks = np.ascontiguousarray(np.asarray(seen_masks) > 0).view(np.uint8)
        _check_images(normals, seen, masks)
        _check_sources(seen, masks, textures, normals.shape[1:], settings)
        found = find_foregrounds(normals, foreground)
        self.foreground_coverage = 1.0 if found is None else float(found.coverage.mean())
        self.foregrounds_not_found = 0 if found is None else found.not_found
        self.materials = Materials(normals, seen, masks, textures, found, is_grey(normals))
        log.info(
            "foreground covers %.1f %% of the %d normal images on average; %d have none and take the whole image",
            100 * self.foreground_coverage,
            len(normals),
            self.foregrounds_not_found,
        )

    def plan(self, kind: Kind, epoch: int, index: int) -> Plan:
        """What is drawn for a sample; the numbers come from (seed, kind, epoch, index) alone.

        Raises `SettingsError` for a kind that the settings switch off.
        """
        key = np.random.SeedSequence(self.seed, spawn_key=(KINDS.index(kind), epoch, index))
        uniform = np.random.Generator(np.random.PCG64(key)).random
        if kind == "extended":
            if not self.settings.extended:
                raise SettingsError("an extended anomaly is asked for, but synthesis.extended is off")
            return plan_extended(self.materials, self.settings, uniform)
        if not (self.settings.heterologous or self.settings.homologous):
            raise SettingsError("a simulated anomaly is asked for, but synthesis.heterologous and .homologous are off")
        return plan_simulated(self.materials, self.settings, uniform)

    def sample(self, kind: Kind, epoch: int, index: int) -> Sample:
        """One synthetic image with its mask and its plan."""
        plan = self.plan(kind, epoch, index)
        height, width = self.materials.size
        image, mask = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
        render(self.materials, plan, image, mask)
        return Sample(image, mask, plan)

    def batch(self, kind: Kind, epoch: int, indices: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 [B, H, W, 3] and masks uint8 0/1 [B, H, W] of the samples with these indices."""
        chosen = list(indices)
        height, width = self.materials.size
        images = np.empty((len(chosen), height, width, 3), np.uint8)
        masks = np.empty((len(chosen), height, width), np.uint8)
        for position, index in enumerate(chosen):
            render(self.materials, self.plan(kind, epoch, index), images[position], masks[position])
        return images, masks


def synthesizer_of(inputs: "FitInputs", settings: "SynthesisSettings", shots: int) -> Synthesizer:
    """The synthesizer of a training: from its first `shots` seen anomalies, under its category's foreground rule.

    Raises as `Synthesizer` does.
    """
    return Synthesizer(
        inputs.normals,
        inputs.seen[:shots],
        inputs.seen_masks[:shots],
        inputs.textures if inputs.textures is not None else [],
        settings=settings,
        seed=inputs.seed,
        foreground=foreground_rule(settings.foreground, inputs.dataset, inputs.category),
    )


def _check_images(normals: np.ndarray, seen: np.ndarray, masks: np.ndarray) -> None:
    """There are normals, and seen anomalies and masks are of their size and paired."""
    if len(normals) == 0:
        raise DataMissing("synthesis needs at least one normal training image, found none")
    size = normals.shape[1:]
    for name, images, expected in (("seen anomalies", seen, size), ("masks", masks, size[:2])):
        if len(images) and images.shape[1:] != expected:
            raise PrnError(f"{name} are {images.shape[1:]}, expected {expected} like the normal images")
    if len(seen) != len(masks):
        raise PrnError(f"{len(seen)} seen anomalies have {len(masks)} masks")


def _check_sources(
    seen: np.ndarray,
    masks: np.ndarray,
    textures: Sequence[np.ndarray] | np.ndarray,
    size: tuple[int, ...],
    settings: "SynthesisSettings",
) -> None:
    """What the kinds that are switched on are made of is there."""
    empty = [index for index, mask in enumerate(masks) if not mask.any()]
    if settings.extended and empty:
        raise PrnError(f"seen anomalies {empty} have an empty mask; extended anomalies need a marked region")
    if settings.extended and not len(seen):
        raise DataMissing(
            "synthesis.extended is on, but there is no seen anomaly with a mask; add masks of defective images, or set"
            " synthesis.extended to false (variant prn-no-ea)"
        )
    if settings.heterologous and not len(textures):
        raise DataMissing(
            "synthesis.heterologous is on, but there are no textures; prepare DTD, name another folder of textures,"
            " or set synthesis.heterologous to false"
        )
    if settings.heterologous and textures[0].shape != size:
        raise PrnError(f"textures are {textures[0].shape}, expected {size} like the normal images")
    if settings.homologous and settings.grid > min(size[:2]):
        raise SettingsError(f"synthesis.grid: found {settings.grid}, but the images are only {size[0]} x {size[1]}")
