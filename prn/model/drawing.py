"""The figure of the network for the README, drawn from the same numbers as `prn describe`."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prn.errors import SettingsError
from prn.model.describe import Block, describe, total
from prn.provenance.files import atomic_write

if TYPE_CHECKING:
    from prn.settings.sections import ModelSettings

FIXED, TRAINED, OUTER = "#cfdcea", "#fbd9ae", "#eeeeee"
HEIGHT = 0.62  # of a box, in the figure's units
ROWS = (4.4, 3.0, 1.6, 0.2)  # vertical positions of scales 1, 2, 3 and of the bottleneck
COLUMNS = {"encoder": 1.0, "residual": 3.5, "fusion": 5.9, "attention": 8.3, "last": 10.7, "decoder": 13.1}


def draw_network(
    path: str | Path, settings: "ModelSettings", size: tuple[int, int] = (256, 256), prototypes: int = 25
) -> None:
    """Write the network's figure as SVG or PNG (by the name's ending); the same settings give the same SVG bytes.

    Raises SettingsError for another ending or for a size that the network cannot take.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix not in (".svg", ".png"):
        raise SettingsError(f"figure {path}: the name ends in {path.suffix!r}; expected .svg or .png")
    blocks = describe(settings, size, prototypes)
    figure = Figure(figsize=(14.2, 6.2))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.3, 14.4), ylim=(-0.55, 6.15))
    axes.axis("off")
    distance = "|F - P*|" if settings.residual == "absolute" else "(F - P*)²"
    _draw(axes, {block.name: block for block in blocks}, size, prototypes, distance)
    whole = total(blocks)
    axes.text(
        6.9,
        -0.3,
        f"{settings.backbone}, input {size[0]} x {size[1]}"
        f"{f', K = {prototypes}' if settings.prototypes else ''}: {_millions(whole.trainable)} trained and "
        f"{_millions(whole.fixed)} fixed values, {whole.gmac:.1f} GMAC an image",
        ha="center",
        fontsize=9,
    )
    with atomic_write(path) as temporary, mpl.rc_context({"svg.hashsalt": "prn", "svg.fonttype": "none"}):
        kind = path.suffix[1:]
        figure.savefig(temporary, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else {})


def _draw(axes: Any, blocks: dict[str, Block], size: tuple[int, int], prototypes: int, distance: str) -> None:
    def put(column: str, row: float, title: str, note: str, colour: str) -> None:
        _box(axes, (COLUMNS[column], row), title, note, colour)

    def join(first: str, second: str, row: float) -> None:
        _arrow(axes, (COLUMNS[first] + 1.0, row), (COLUMNS[second] - 1.0, row))

    put("encoder", 5.7, "image", f"3 x {size[0]} x {size[1]}", OUTER)
    fusion = next((block for name, block in blocks.items() if name.startswith("fusion of features")), None)
    residual = blocks.get("residuals from nearest prototypes")
    attended, last = blocks.get("attention: scale 1, layer 1"), blocks.get("fusion of attended maps")
    for scale in (1, 2, 3):
        row = ROWS[scale - 1]
        encoder = blocks[f"encoder: layer{scale}"]
        put("encoder", row, f"{'stem, ' if scale == 1 else ''}layer{scale}", _shape(encoder.outputs[0]), FIXED)
        previous = "encoder"
        if residual is not None:
            put("residual", row, f"F and D = {distance}", f"nearest of {prototypes} prototypes", FIXED)
            join(previous, "residual", row)
            previous = "residual"
        if fusion is not None:
            title, maps = ("fusion of F, fusion of D", "2 x ") if residual is not None else ("fusion of F", "")
            put("fusion", row, title, maps + _shape(fusion.outputs[scale - 1]), TRAINED)
            join(previous, "fusion", row)
            previous = "fusion"
        if attended is not None:
            layers = [block for name, block in blocks.items() if name.startswith(f"attention: scale {scale},")]
            put("attention", row, f"{len(layers)} x self-attention", _shape(layers[-1].outputs[0]), TRAINED)
            join(previous, "attention", row)
            previous = "attention"
        if last is not None:
            put("last", row, "fusion", _shape(last.outputs[scale - 1]), TRAINED)
            join(previous, "last", row)
            previous = "last"
        put("decoder", row, f"decoder block {scale}", _shape(blocks[f"decoder: block {scale}"].outputs[0]), TRAINED)
        join(previous, "decoder", row)
    _draw_fusion_links(axes, [name for name, block in (("fusion", fusion), ("last", last)) if block is not None])
    bottleneck = blocks["bottleneck: layer4"]
    put("encoder", ROWS[3], "layer4", _shape(bottleneck.outputs[0]), TRAINED if bottleneck.trainable else FIXED)
    put("decoder", 5.7, "score map", _shape(blocks["decoder: logit"].outputs[0]), OUTER)
    _draw_columns(axes)


def _draw_fusion_links(axes: Any, columns: list[str]) -> None:
    """Both ways between the scales of a fusion."""
    for column in columns:
        for upper, lower in pairwise(ROWS[:3]):
            top, bottom = (COLUMNS[column], upper - HEIGHT / 2), (COLUMNS[column], lower + HEIGHT / 2)
            _arrow(axes, top, bottom, style="<|-|>")


def _draw_columns(axes: Any) -> None:
    """Down the encoder, across the bottleneck and up the decoder; the legend."""
    left, right = COLUMNS["encoder"], COLUMNS["decoder"]
    for upper, lower in zip((5.7, *ROWS[:3]), ROWS, strict=True):
        _arrow(axes, (left, upper - HEIGHT / 2), (left, lower + HEIGHT / 2))
    _arrow(axes, (left + 1.0, ROWS[3]), (right, ROWS[3]), style="-")
    for lower, upper in zip((ROWS[3] - HEIGHT / 2, *ROWS[2::-1]), (*ROWS[2::-1], 5.7), strict=True):
        _arrow(axes, (right, lower + HEIGHT / 2), (right, upper - HEIGHT / 2))
    axes.text(right - 0.1, 5.05, "2 blocks and the logit", fontsize=8, color="#333333", ha="right", va="center")
    for x, label, colour in ((6.2, "fixed", FIXED), (7.6, "trained", TRAINED)):
        axes.plot(x, 5.7, marker="s", markersize=11, color=colour, markeredgecolor="#555555", markeredgewidth=0.8)
        axes.text(x + 0.2, 5.7, label, fontsize=9, va="center")


def _box(axes: Any, centre: tuple[float, float], title: str, note: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = centre
    corner, style = (x - 0.95, y - HEIGHT / 2), "round,pad=0.05,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, 1.9, HEIGHT, boxstyle=style, facecolor=colour, edgecolor="#555555", lw=0.8))
    axes.text(x, y + (0.12 if note else 0), title, ha="center", va="center", fontsize=9)
    if note:
        axes.text(x, y - 0.16, note, ha="center", va="center", fontsize=8, color="#333333")


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], style: str = "-|>") -> None:
    axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": style, "lw": 0.9, "color": "#333333"})


def _shape(shape: tuple[int, int, int]) -> str:
    return " x ".join(str(number) for number in shape)


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"
