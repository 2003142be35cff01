"""How names and numbers read: display names of data sets, variants and metrics; numbers as the paper prints them."""

from prn.datasets.registry import dataset_names, find
from prn.reporting.results import NOT_AVAILABLE, NOT_RUN, OK, STALE, Results, Summary
from prn.settings.sections import Settings

DATASETS = {"mvtec": "MVTec AD", "dagm": "DAGM 2007", "btad": "BTAD", "ksdd2": "KolektorSDD2", "dtd": "DTD"}
METRIC_NAMES = {
    "image_auroc": "Image AUROC",
    "pixel_auroc": "Pixel AUROC",
    "pro": "PRO",
    "ap": "AP",
    "seconds_per_image": "Seconds an image",
}
METRIC_LETTERS = {"image_auroc": "I", "pixel_auroc": "P", "pro": "O", "ap": "A", "seconds_per_image": "T"}
METHODS = {
    "kdad": "KDAD",
    "cflow": "CFLOW",
    "draem": "DRAEM",
    "sspcab": "SSPCAB",
    "cfa": "CFA",
    "rd4ad": "RD4AD",
    "patchcore": "PatchCore",
    "devnet": "DevNet",
    "dra": "DRA",
    "prn": "PRN",
}
UNTRAINED, TEXTURES = "untrained", "dtd"
GENERATED = " - generated images"
GENERATED_NOTE = (
    "**These are generated images**: small archives in the published layout, made from photographs. Their numbers"
    " say that the pipeline works; they are not comparable with the paper's, which stand here for the form of the page."
)
IN_A_FIGURE = 5
NAIVE = {"mean-image": "distance to the mean image", "colour-threshold": "colour threshold"}


def image_credit(dataset: str, settings: Settings) -> list[str]:
    """Whose images a page's pictures show, and under which licence; nothing for generated images.

    Of a data set of the user's own what `report.credits` says, nothing without.
    """
    credit = settings.report.credits.get(dataset, "")
    if dataset in dataset_names():
        facts = find(dataset)
        credit = f"[{facts.title}]({facts.home}), {facts.licence}"
    if settings.benchmark.generated_images or not credit:
        return []
    textures = find(TEXTURES)
    return [
        f"Pictures: images of {credit}; textures in contact sheets:"
        f" [{textures.title}]({textures.home}), {textures.licence}."
    ]


def dataset_name(dataset: str) -> str:
    """A data set's name as in the literature; a user's own stays as it is."""
    return DATASETS.get(dataset, dataset)


def generated_title(title: str, settings: Settings) -> str:
    """A page's title; that of a run on generated images says so."""
    return title + GENERATED if settings.benchmark.generated_images else title


def generated_note(settings: Settings) -> list[str]:
    """The warning of a page that has the paper's numbers on it; empty for real images."""
    return [GENERATED_NOTE] if settings.benchmark.generated_images else []


def variant_name(variant: str) -> str:
    """A variant as a table shows it: methods of the paper by their names, everything else as in the settings."""
    return METHODS.get(variant, variant)


def is_ablation(variant: str) -> bool:
    """Whether the variant is PRN with something changed: those stand in `ablations.md`, a light PRN beside PRN."""
    return variant.startswith("prn-") and variant != "prn-light"


def compared_variants(dataset: str, results: Results) -> list[str]:
    """The variants that share a page's tables and figures: PRN first, then the control, then the others as planned."""
    names = [name for name in results.variants(dataset) if not is_ablation(name)]
    return sorted(names, key=lambda name: (name != "prn", name != UNTRAINED))


def groups_of(names: list[str]) -> list[list[str]]:
    """The methods of one figure each: five at most, the first of all (PRN) in each of them, so that figures compare."""
    groups = [names[:IN_A_FIGURE]] if names else []
    rest = names[IN_A_FIGURE:]
    step = IN_A_FIGURE - 1
    return groups + [[names[0], *rest[start : start + step]] for start in range(0, len(rest), step)]


def number(value: float, metric: str = "") -> str:
    """A value as the paper prints it: percent with one decimal (100 without), seconds with three."""
    if metric == "seconds_per_image":
        return f"{value:.3f}" if value == 0 or value >= 0.0005 else "<0.001"
    text = f"{value:.1f}"
    return "100" if text == "100.0" else text


def measured(summary: Summary, metric: str = "", spread: bool = False) -> str:
    """A measured value, or `n/a`, `stale` or `not run` in its place; with `spread`, the deviation over seeds.

    A mean that lacks categories says over how many it goes.
    """
    if summary.mean is None:
        return summary.state
    text = number(summary.mean, metric)
    if spread and summary.spread is not None:
        text += f" ± {number(summary.spread, metric)}"
    if summary.categories < summary.of_categories:
        text += f" ({summary.categories} of {summary.of_categories})"
    return text


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def plural(count: int, word: str, many: str = "") -> str:
    """`1 category`, `2 categories`."""
    return f"{count:,} {word if count == 1 else many or word + 's'}"


def listing(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def seconds_text(seconds: float) -> str:
    """A duration to two or three digits: `0.4 s`, `95 s`, `12 min`, `3.5 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def why_missing(summary: Summary) -> str:
    """The reason behind an `n/a`, `stale` or `not run`; empty for a number."""
    return {OK: "", NOT_RUN: "", NOT_AVAILABLE: summary.reason, STALE: summary.reason}[summary.state]
