"""One look for all figures: colour-blind safe (Okabe and Ito), white ground, the same bytes for the same data."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

from prn.provenance.files import atomic_write

# Okabe and Ito's palette: told apart with any colour vision and by lightness in grey print.
BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#000000",
)
VARIANT_COLOURS = {"prn": BLUE, "untrained": VERMILION, "mean-image": GREEN, "colour-threshold": PURPLE}
OTHER_COLOURS = (ORANGE, SKY, GREEN, PURPLE, YELLOW, BLACK)
SCORE_MAP = "inferno"

_STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
}


def variant_dashes(variant: str, variants: list[str]) -> str | tuple:
    """A variant's line: solid for the first, then dashed, dotted and so on, so that lines differ without colour."""
    return ("solid", "dashed", "dashdot", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))[variants.index(variant) % 5]


def variant_colour(variant: str, variants: list[str]) -> str:
    """A variant's colour: fixed for PRN and the controls, else one that those of the figure leave, by its place."""
    if variant in VARIANT_COLOURS:
        return VARIANT_COLOURS[variant]
    taken = {VARIANT_COLOURS[name] for name in variants if name in VARIANT_COLOURS}
    free = [colour for colour in OTHER_COLOURS if colour not in taken]
    others = [name for name in variants if name not in VARIANT_COLOURS]
    return free[others.index(variant) % len(free)]


@contextmanager
def figure(width: float, height: float, by_hand: bool = False) -> Iterator[Figure]:
    """A figure in the common style, without any window or global state; sizes in inches."""
    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout=None if by_hand else "constrained")


def save(made: Figure, path: Path, photographs: bool = False, dpi: int = 110, tight: bool = True) -> None:
    """Write a figure as a PNG, atomically, without software name or date; drawings get 256 colours to stay small."""
    buffer = BytesIO()
    with mpl.rc_context(_STYLE):
        edges: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.06} if tight else {}
        made.savefig(
            buffer, format="png", dpi=dpi, metadata={"Software": None}, pil_kwargs={"compress_level": 0}, **edges
        )
    buffer.seek(0)
    picture = Image.open(buffer).convert("RGB")
    if not photographs:
        picture = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with atomic_write(path) as temporary:
        picture.save(temporary, format="PNG", optimize=not photographs)  # photographs gain 1 % in twice the time
