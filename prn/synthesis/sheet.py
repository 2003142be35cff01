"""Pictures of the synthesis: how every anomaly came about, and which foreground each normal has."""

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from prn.provenance.files import atomic_write
from prn.synthesis.anomalies import OPACITY_UNITS, Plan
from prn.synthesis.batch import KINDS, Kind, Sample, Synthesizer
from prn.synthesis.materials import Materials
from prn.synthesis.perlin import perlin_noise
from prn.synthesis.render import anomaly_colours
from prn.synthesis.spatial import Box, warp_mask

COLUMNS = ("normal", "source", "region or noise", "target area", "mask", "result")
LABELS = {"extended": "EA", "heterologous": "HEA", "homologous": "HOA"}
# Published images may be shown in tiles of at most 256 pixels.
MOST_PIXELS = 256
_OUTLINE = (255, 0, 255)


@dataclass(frozen=True, slots=True)
class Parts:
    """What stands in a row of the contact sheet: uint8 images [H, W, 3] in the order of `COLUMNS`."""

    pictures: tuple[np.ndarray, ...]
    caption: str


def _outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(image.copy(), contours, -1, _OUTLINE, 1)


def _whole(patch: np.ndarray, box: Box, size: tuple[int, int]) -> np.ndarray:
    """A patch on its place in an otherwise empty image."""
    image = np.zeros((*size, *patch.shape[2:]), patch.dtype)
    image[box.slices] = patch
    return image


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


def sample_parts(materials: Materials, sample: Sample) -> Parts:
    """How a sample came about: normal, source, region or noise, target area, mask, result."""
    plan, size = sample.plan, materials.size
    everything = Box(0, 0, *size)
    normal = materials.normals[plan.background]
    if plan.strategy == "extended":
        around = cv2.dilate(materials.seen_masks[plan.source], np.ones((5, 5), np.uint8))
        source = _outlined(materials.seen[plan.source], around)
        middle = _region(materials, plan, everything)
    else:
        source = anomaly_colours(materials, plan, everything)
        middle = _noise(plan, size)
    area = _whole(plan.area.mask, plan.area.box, size)
    dimmed = np.where(area[..., None] > 0, normal, normal // 3)
    return Parts((normal, source, middle, dimmed, _grey(sample.mask * 255), sample.image), _caption(plan))


def _region(materials: Materials, plan: Plan, everything: Box) -> np.ndarray:
    """R of Fig. 5: the seen anomaly's region after both augmentations, on mid grey so that dark regions show."""
    if plan.affine is None:
        raise ValueError("an extended anomaly has a transform")
    region = warp_mask(materials.seen_masks[plan.source], plan.affine, everything)
    return np.where(region[..., None] > 0, anomaly_colours(materials, plan, everything), np.uint8(128))


def _noise(plan: Plan, size: tuple[int, int]) -> np.ndarray:
    if plan.noise is None:
        raise ValueError("a simulated anomaly has a noise")
    angles, turn = plan.noise
    shown = np.clip(127.5 + 127.5 * perlin_noise(angles, *size), 0, 255).astype(np.uint8)
    return _grey(warp_mask(shown, turn, Box(0, 0, *size), cv2.BORDER_REFLECT_101))


def _caption(plan: Plan) -> str:
    lines = [LABELS[plan.strategy], *plan.operations]
    if plan.affine is not None:
        lines.append(plan.affine.name)
    lines.append(f"β = {plan.opacity / OPACITY_UNITS:.2f}")
    lines.append("fallback" if plan.fallback else f"try {plan.tries}")
    return "\n".join(lines)


def _chosen(synthesizer: Synthesizer, rows_per_kind: int, epoch: int) -> list[Sample]:
    """The first samples of the epoch, `rows_per_kind` of each strategy that is switched on."""
    settings = synthesizer.settings
    strategies: list[tuple[Kind, str]] = []
    if settings.extended:
        strategies.append(("extended", "extended"))
    if settings.heterologous and (settings.heterologous_share > 0 or not settings.homologous):
        strategies.append(("simulated", "heterologous"))
    if settings.homologous and (settings.heterologous_share < 1 or not settings.heterologous):
        strategies.append(("simulated", "homologous"))
    samples = []
    for kind, strategy in strategies:
        index = found = 0
        while found < rows_per_kind:
            if synthesizer.plan(kind, epoch, index).strategy == strategy:
                samples.append(synthesizer.sample(kind, epoch, index))
                found += 1
            index += 1
    return samples


def contact_sheet(
    synthesizer: Synthesizer, path: str | Path, rows_per_kind: int = 4, title: str = "", epoch: int = 0
) -> None:
    """Write a PNG with `rows_per_kind` rows of every strategy (EA, HEA, HOA) that the settings switch on.

    The samples are those that a training with these settings sees first in `epoch`.
    """
    rows = [sample_parts(synthesizer.materials, sample) for sample in _chosen(synthesizer, rows_per_kind, epoch)]
    _write_grid([row.pictures for row in rows], path, COLUMNS, [row.caption for row in rows], title)


def foreground_sheet(synthesizer: Synthesizer, path: str | Path, count: int = 12, title: str = "") -> None:
    """Write a PNG with `count` normals spread over the training set, each with its foreground outlined and coverage."""
    materials = synthesizer.materials
    chosen = np.unique(np.linspace(0, len(materials.normals) - 1, count).astype(int))
    everything = Box(0, 0, *materials.size)
    tiles = []
    for index in chosen:
        mask = materials.foreground_of(int(index), everything)
        image = materials.normals[index]
        tiles.append(_outlined(np.where(mask[..., None] > 0, image, image // 3), np.ascontiguousarray(mask)))
    width = min(6, len(tiles))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % width)
    rows = [tuple(tiles[start : start + width]) for start in range(0, len(tiles), width)]
    coverage = f"foreground: {100 * synthesizer.foreground_coverage:.1f} % of the image on average"
    _write_grid(rows, path, ("",) * width, [""] * len(rows), f"{title}\n{coverage}" if title else coverage)


def _write_grid(
    rows: list[tuple[np.ndarray, ...]], path: str | Path, columns: tuple[str, ...], captions: list[str], title: str
) -> None:
    """Tiles of equal size in a grid with column heads and row captions, as a PNG."""
    height, width = rows[0][0].shape[:2]
    scale = min(1.0, MOST_PIXELS / max(height, width))
    tile = (max(1, round(width * scale)), max(1, round(height * scale)))
    dpi, left, top = 100, 1.0, 0.75
    across, down = tile[0] / dpi + 0.06, tile[1] / dpi + 0.06
    figure = Figure(figsize=(left + across * len(columns), top + down * len(rows)), dpi=dpi)
    total_width, total_height = figure.get_size_inches()
    for row, (pictures, caption) in enumerate(zip(rows, captions, strict=True)):
        bottom = total_height - top - (row + 1) * down
        figure.text(0.06 / total_width, (bottom + down / 2) / total_height, caption, va="center", fontsize=9)
        for column, picture in enumerate(pictures):
            shown = cv2.resize(picture, tile, interpolation=cv2.INTER_AREA) if scale < 1 else picture
            place = ((left + column * across) / total_width, bottom / total_height)
            axes = figure.add_axes((*place, tile[0] / dpi / total_width, tile[1] / dpi / total_height))
            axes.imshow(shown, interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(columns[column], fontsize=10)
    figure.text(0.5, 1 - 0.1 / total_height, title, ha="center", va="top", fontsize=11)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def write_samples(synthesizer: Synthesizer, folder: str | Path, per_kind: int, epoch: int = 0) -> list[Path]:
    """Write the first samples of each kind as `<kind>_<index>.png` and `<kind>_<index>_mask.png`; returns the paths."""
    settings = synthesizer.settings
    wanted = {"extended": settings.extended, "simulated": settings.heterologous or settings.homologous}
    digits = max(3, math.ceil(math.log10(max(per_kind, 2))))
    paths = []
    for kind in KINDS:
        for index in range(per_kind if wanted[kind] else 0):
            sample = synthesizer.sample(kind, epoch, index)
            stem = f"{kind}_{index:0{digits}d}"
            coloured = cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
            for name, picture in ((f"{stem}.png", coloured), (f"{stem}_mask.png", sample.mask * 255)):
                path = Path(folder) / name
                with atomic_write(path) as temporary:
                    temporary.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
                paths.append(path)
    return paths
