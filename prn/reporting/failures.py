"""`failures.md`: where PRN is wrong, with pictures, and which runs there are no results of, with the reason."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import Normalize

from prn import layout
from prn.metrics import metrics_by_type
from prn.reporting.curves import PRO_LIMIT, SIZE_FPR, RankedPredictions
from prn.reporting.document import Block, Bullets, Figure, Heading, Page, Table
from prn.reporting.grids import colour_range
from prn.reporting.mosaic import Tile, coloured, overlay, truth_picture, write_mosaic
from prn.reporting.results import Results, Run
from prn.reporting.run_card import without_paths
from prn.reporting.wording import dataset_name, generated_title, image_credit, plural, variant_name
from prn.settings.sections import Settings

SHOWN = 6
WORST_TYPES = 10
RUNS_SHOWN = 40
LOG_STAGES = ("train", "predict", "evaluate")


@dataclass(frozen=True, slots=True)
class Case:
    """A test image that is ranked wrong: `share` of the images of the other kind are on its wrong side.

    `kind` is the defect's type, or `good`; `distance` orders cases of the same share: the score in standard deviations
    of the good images' scores.
    """

    run: Run
    path: str
    kind: str
    score: float
    share: float
    distance: float
    pictures: tuple[np.ndarray, ...]
    mask: np.ndarray


@dataclass(frozen=True, slots=True)
class TypeScore:
    """How well the regions of one defect type are found."""

    run: Run
    kind: str
    images: int
    regions: int
    pro: float
    recall: float


@dataclass(frozen=True, slots=True)
class Failures:
    """The worst of one run."""

    misses: list[Case]
    alarms: list[Case]
    types: list[TypeScore]


def find_failures(ranked: RankedPredictions) -> Failures:
    """The worst misses, false alarms and defect types of a run, worst first."""
    shown = ranked.evidence
    scores, bad = shown.image_scores, shown.defective
    good_scores, bad_scores = scores[~bad], scores[bad]
    if not len(good_scores) or not len(bad_scores):
        return Failures([], [], [])
    spread = float(good_scores.std()) or 1.0
    scale = Normalize(*colour_range(shown), clip=True)

    def case(index: int, share: float) -> Case:
        image, mask, score_map = shown.images[index], shown.masks[index], shown.score_maps[index]
        truth = truth_picture(mask, bool(shown.has_mask[index]))
        pictures = (image, truth, coloured(score_map, scale), overlay(image, score_map, scale))
        distance = (float(scores[index]) - float(good_scores.mean())) / spread
        return Case(
            shown.run, shown.paths[index], shown.types[index], float(scores[index]), share, distance, pictures, mask
        )

    lowest = sorted(np.flatnonzero(bad).tolist(), key=lambda index: (scores[index], index))[:SHOWN]
    highest = sorted(np.flatnonzero(~bad).tolist(), key=lambda index: (-scores[index], index))[:SHOWN]
    misses = [case(index, float(np.mean(good_scores >= scores[index]))) for index in lowest]
    alarms = [case(index, float(np.mean(bad_scores <= scores[index]))) for index in highest]
    return Failures(misses, alarms, _types(ranked))


def _types(ranked: RankedPredictions) -> list[TypeScore]:
    if ranked.ranking is None:
        return []
    shown = ranked.evidence
    found = []
    for group in metrics_by_type(ranked.ranking, shown.types, PRO_LIMIT):
        recall = group.region_recall[SIZE_FPR]
        if group.pro is not None and recall is not None:
            found.append(TypeScore(shown.run, group.name, group.images, group.regions, group.pro, recall))
    return found


def failures_page(
    settings: Settings, results: Results, found: dict[str, list[Failures]], root: Path, folder: Path
) -> Page:
    """Worst misses, false alarms and defect types per data set, then the runs without results."""
    page = Page("failures.md", generated_title("Failures", settings))
    page.add(
        "Images that the image score ranks worst, by PRN or else by the variant named below the pictures (first seed)."
        " A *miss* is a defective image below good ones, a"
        " *false alarm* a good image above defective ones; the share says of how many. A share of 0 % is no error:"
        " it is the image that came closest to one."
    )
    for dataset in results.datasets():
        page.add(Heading(dataset_name(dataset)), *image_credit(dataset, settings))
        page.add(*_dataset(dataset, found.get(dataset, []), folder))
    page.add(Heading("Runs without results"), *_missing(results, root))
    return page


def _dataset(dataset: str, parts: list[Failures], folder: Path) -> list[Block]:
    misses = sorted((case for part in parts for case in part.misses), key=lambda c: (-c.share, c.distance))[:SHOWN]
    alarms = sorted((case for part in parts for case in part.alarms), key=lambda c: (-c.share, -c.distance))[:SHOWN]
    if not misses:
        return ["No predictions are kept here."]
    blocks: list[Block] = []
    for title, cases, name, words in (
        ("Worst misses", misses, "misses", "good images score at least as high"),
        ("Worst false alarms", alarms, "false-alarms", "defective images score at most as high"),
    ):
        path = f"figures/{dataset}/{name}.png"
        _strip(cases, folder / path)
        rows = [[c.run.category, f"`{c.path}`", f"{c.score:.3g}", f"{100 * c.share:.0f} %"] for c in cases]
        listed = ", ".join(f"{case.run.category} {case.kind}" for case in cases)
        alt = f"{dataset_name(dataset)}, {title.lower()}: input, ground truth, score map and overlay of {listed}"
        caption = (
            f"{variant_name(cases[0].run.variant)}, seed {cases[0].run.seed}; the colours are each category's own."
        )
        blocks += [Heading(title, 3), Figure(path, alt, caption)]
        blocks.append(Table(["Category", "Image", "Score", f"Share: {words}"], rows, left=2))
    types = sorted((one for part in parts for one in part.types), key=lambda one: (one.pro, one.run, one.kind))
    if types:
        cells = [
            [t.run.category, t.kind, str(t.images), str(t.regions), f"{100 * t.pro:.1f}", f"{100 * t.recall:.0f} %"]
            for t in types[:WORST_TYPES]
        ]
        header = ["Category", "Defect", "Images", "Regions", "PRO", "Regions found at 1 % false positives"]
        blocks += [Heading("Defect types with the lowest PRO", 3), Table(header, cells, left=2)]
    return blocks


def _strip(cases: list[Case], path: Path) -> None:
    """Write the cases side by side, a row for each kind of picture."""
    titles = ["input", "ground truth", "score map", "overlay"]
    rows = [[Tile(case.pictures[row], case.mask if row == 3 else None) for case in cases] for row in range(4)]
    write_mosaic(
        rows, titles, [f"{case.run.category}\n{case.kind[:20]}\n{100 * case.share:.0f} %" for case in cases], path
    )


def _missing(results: Results, root: Path) -> list[Block]:
    lines = [f"`{run.folder}` seed {run.seed}: **stale**, {reason}" for run, reason in sorted(results.stale.items())]
    lines += [f"`{run.folder}` seed {run.seed}: {_why(root, run)}" for run in results.missing]
    if not lines:
        return ["Every run that the settings ask for has a current result."]
    more = len(lines) - RUNS_SHOWN
    blocks: list[Block] = [Bullets(lines[:RUNS_SHOWN])]
    return [*blocks, f"And {plural(more, 'more run')}."] if more > 0 else blocks


def _why(root: Path, run: Run) -> str:
    """What there is of a run without metrics: the last line of its last log, or how far it came."""
    for stage in reversed(LOG_STAGES):
        file = run.file(root, layout.log_of(stage, "dataset", "category", "variant", "seed"))
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if last:
            return f"{stage} ended with `{without_paths(last, root)[:200].replace('`', '')}`"
    if run.file(root, layout.CHECKPOINT).is_file():
        return "trained, not evaluated"
    return "not started"
