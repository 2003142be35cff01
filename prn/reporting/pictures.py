"""All figures of a report: drawn into `reports/figures`, handed to the pages with their texts."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from prn.config import Settings
from prn.datasets.rows import read_index
from prn.reporting.bars import category_bars, loss_figure, read_log
from prn.reporting.curves import (
    Scored,
    SizeRecall,
    curves_figure,
    histogram_figure,
    merge_sizes,
    recall_by_size,
    size_figure,
)
from prn.reporting.distances import distance_grid
from prn.reporting.document import Block, Figure
from prn.reporting.evidence import NoEvidence, forget_pictures, read_evidence
from prn.reporting.failures import Failures, find_failures
from prn.reporting.grids import RULE, methods_grid, score_grid
from prn.reporting.results import Results, Run
from prn.reporting.sheets import synthesis_sheet
from prn.reporting.wording import compared_variants, dataset_name, listing, variant_name

MOST_VARIANTS = 4


@dataclass(slots=True)
class Studio:
    """Where figures come from and go to; holds the predictions of the category that is being drawn."""

    root: Path
    folder: Path
    settings: Settings
    results: Results
    _held: dict[Run, Scored] = field(default_factory=dict)

    def scored(self, run: Run) -> Scored:
        """A run's predictions with their images; raises `NoEvidence`."""
        if run not in self._held:
            file = self.root / "data" / "index" / run.dataset / f"{run.category}.csv"
            if not file.is_file():
                raise NoEvidence(f"the index of {run.category} is not kept here")
            good = frozenset(row.path for row in read_index(file) if not row.label)
            self._held[run] = Scored(read_evidence(self.root, run, good))
        return self._held[run]

    def release(self) -> None:
        """Forget the predictions that were read."""
        self._held.clear()
        forget_pictures()

    def shown_variants(self, dataset: str, category: str) -> list[str]:
        """The variants whose pictures stand side by side: those of the page's tables that were run, at most four."""
        names = compared_variants(dataset, self.results)
        return [name for name in names if self.results.seeds_of(dataset, category, name)][:MOST_VARIANTS]

    def first_run(self, dataset: str, category: str, variant: str | None = None) -> Run:
        """The first seed of a variant (PRN, else the first that was run); raises an empty `NoEvidence` without one."""
        names = [variant] if variant else self.shown_variants(dataset, category)
        for name in names:
            seeds = self.results.seeds_of(dataset, category, name)
            if seeds:
                return Run(dataset, category, name, min(seeds))
        raise NoEvidence


@dataclass(frozen=True, slots=True)
class CategoryPictures:
    """The blocks under a category's heading, its regions' recall by size, and where the first run fails."""

    blocks: list[Block]
    sizes: dict[str, list[SizeRecall]]
    failures: list[Failures]


def category_figures(studio: Studio, dataset: str, category: str) -> CategoryPictures:
    """Draw a category's figures; a line stands in place of each that the kept files do not allow."""
    blocks = _drawn(studio, dataset, category)
    recalls = {}
    for variant in studio.shown_variants(dataset, category):
        with suppress(NoEvidence):
            recalls[variant] = recall_by_size(_seeds(studio, dataset, category, variant))
    failures = []
    with suppress(NoEvidence):
        failures.append(find_failures(studio.scored(studio.first_run(dataset, category))))
    studio.release()
    return CategoryPictures(blocks, recalls, failures)


def dataset_figures(studio: Studio, dataset: str, pictures: list[CategoryPictures]) -> list[Block]:
    """Draw the figures of a data set: bars by category, recall by defect size."""
    variants = [v for v in compared_variants(dataset, studio.results) if _was_run(studio, dataset, v)][:MOST_VARIANTS]
    if not variants:
        return []
    with_paper = not studio.settings.benchmark.generated_images
    path = f"figures/{dataset}/bars.png"
    category_bars(dataset, variants, studio.results, with_paper, studio.folder / path)
    names = listing([variant_name(name) for name in variants])
    paper = " The black tick is PRN's published value." if with_paper else ""
    blocks: list[Block] = [
        Figure(
            path,
            f"{dataset_name(dataset)}: bars of the four metrics by category for {names}; the tables have the numbers",
            f"Mean over the seeds, error bars: standard deviation; the axis of an AUROC starts at chance.{paper}",
        )
    ]
    merged = {name: merge_sizes([p.sizes[name] for p in pictures if name in p.sizes]) for name in variants}
    merged = {name: sizes for name, sizes in merged.items() if any(one.regions for one in sizes)}
    if merged:
        path = f"figures/{dataset}/sizes.png"
        size_figure(merged, studio.folder / path)
        words = "; ".join(
            f"{variant_name(name)}: "
            + ", ".join(f"{one.name} {100 * one.recall:.0f} %" for one in sizes if one.recall is not None)
            for name, sizes in merged.items()
        )
        blocks.append(
            Figure(
                path,
                f"{dataset_name(dataset)}: recall by defect size. {words}",
                "Recall by defect size: a region counts as found when at least half of it scores above the threshold"
                " that 1 % of the normal pixels pass. All categories and seeds.",
            )
        )
    return blocks


def _was_run(studio: Studio, dataset: str, variant: str) -> bool:
    return any(studio.results.seeds_of(dataset, c, variant) for c in studio.results.categories(dataset))


def _drawn(studio: Studio, dataset: str, category: str) -> list[Block]:
    """A category's figures; what the kept files do not allow is named in one line for each reason."""
    drawings: tuple[tuple[Callable[[Studio, str, str], Block], str], ...] = (
        (_score_grid, "score maps"),
        (_methods_grid, "methods side by side"),
        (_distance_grid, "distances to the prototypes"),
        (_curves, "curves"),
        (_histograms, "score histograms"),
        (_loss, "loss curves"),
        (_synthesis, "contact sheet of the synthesis"),
    )
    blocks: list[Block] = []
    missing: dict[str, list[str]] = {}
    for draw, what in drawings:
        try:
            blocks.append(draw(studio, dataset, category))
        except NoEvidence as reason:
            missing.setdefault(str(reason), []).append(what)
    return [*blocks, *(f"*No {listing(what)}: {reason}.*" for reason, what in missing.items() if reason)]


def _seeds(studio: Studio, dataset: str, category: str, variant: str) -> list[Scored]:
    seeds = studio.results.seeds_of(dataset, category, variant)
    return [studio.scored(Run(dataset, category, variant, seed)) for seed in seeds]


def _score_grid(studio: Studio, dataset: str, category: str) -> Block:
    run = studio.first_run(dataset, category)
    path = f"figures/{dataset}/{category}.png"
    evidence = studio.scored(run).evidence
    chosen = score_grid(evidence, studio.settings.report.figure_rows, studio.folder / path)
    rows = ", ".join(item.label for item in chosen)
    return Figure(
        path,
        f"{dataset_name(dataset)} {category}: input, ground truth, score map and overlay of test images ({rows})",
        f"{variant_name(run.variant)}, seed {run.seed}. {RULE} One colour scale for the category; the white line is the"
        " ground truth's outline.",
    )


def _methods_grid(studio: Studio, dataset: str, category: str) -> Block:
    names = studio.shown_variants(dataset, category)
    if len(names) < 2:
        raise NoEvidence
    runs = [studio.scored(studio.first_run(dataset, category, name)).evidence for name in names]
    path = f"figures/{dataset}/{category}-methods.png"
    methods_grid(runs, studio.settings.report.figure_rows, studio.folder / path)
    shown = listing([variant_name(name) for name in names])
    return Figure(
        path,
        f"{dataset_name(dataset)} {category}: the same test images with the overlays of {shown} side by side",
        f"{shown} on the same images. Scores of different methods have no common unit: each method's are stretched over"
        " this category's test images, the colour bar holds for all.",
    )


def _distance_grid(studio: Studio, dataset: str, category: str) -> Block:
    run = studio.first_run(dataset, category)
    path = f"figures/{dataset}/{category}_distances.png"
    distance_grid(studio.root, studio.scored(run).evidence, studio.folder / path)
    return Figure(
        path,
        f"{dataset_name(dataset)} {category}: distance to the nearest prototype at three scales beside the score map",
        f"{variant_name(run.variant)}, seed {run.seed}: input, the length of F - P* at each place of layer1, layer2 and"
        " layer3 (what the network gets; the control scores by their mean), the network's score map, ground truth.",
    )


def _curves(studio: Studio, dataset: str, category: str) -> Block:
    names = studio.shown_variants(dataset, category)
    if not names:
        raise NoEvidence
    path = f"figures/{dataset}/{category}-curves.png"
    curves_figure({name: _seeds(studio, dataset, category, name) for name in names}, studio.folder / path)
    shown = listing([variant_name(name) for name in names])
    return Figure(
        path,
        f"{dataset_name(dataset)} {category}: image ROC, pixel ROC, pixel precision-recall and PRO curves of {shown}",
        "Lines are means over the seeds, bands their range.",
    )


def _histograms(studio: Studio, dataset: str, category: str) -> Block:
    names = studio.shown_variants(dataset, category)
    if not names:
        raise NoEvidence
    path = f"figures/{dataset}/{category}-scores.png"
    runs = {name: studio.scored(studio.first_run(dataset, category, name)) for name in names}
    histogram_figure(runs, studio.folder / path)
    shown = listing([variant_name(name) for name in names])
    return Figure(
        path,
        f"{dataset_name(dataset)} {category}: histograms of the image scores of good and defective images for {shown}",
        "Image scores of the first seed: filled is good, hatched is defective.",
    )


def _loss(studio: Studio, dataset: str, category: str) -> Block:
    seeds = studio.results.seeds_of(dataset, category, "prn")
    found = {
        seed: read_log(Run(dataset, category, "prn", seed).file(studio.root, "checkpoints", ".log.csv"))
        for seed in seeds
    }
    logs = {seed: log for seed, log in found.items() if log is not None}
    if not logs:
        raise NoEvidence("the training log is not kept here" if seeds else "")
    path = f"figures/{dataset}/{category}-loss.png"
    loss_figure(logs, studio.folder / path)
    last = ", ".join(f"{log['loss'].iloc[-1]:.3g} (seed {seed})" for seed, log in logs.items())
    return Figure(
        path,
        f"{dataset_name(dataset)} {category}: PRN's training loss and share of defect pixels by step; last loss {last}",
        "PRN's training: loss (pale: each step, dark: running mean) and the share of defect pixels in its batches.",
    )


def _synthesis(studio: Studio, dataset: str, category: str) -> Block:
    run = studio.first_run(dataset, category, "prn")
    path = f"figures/{dataset}/{category}-synthesis.png"
    synthesis_sheet(studio.root, run, studio.folder / path)
    return Figure(
        path,
        f"{dataset_name(dataset)} {category}: how the training's extended, heterologous and homologous anomalies are"
        " made, from normal image and source over region or noise, target area and mask to the result",
        f"The first anomalies that the training with seed {run.seed} sees (EA extended, HEA heterologous, HOA"
        " homologous).",
    )
