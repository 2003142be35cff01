"""All figures of a report: drawn into `reports/figures`, handed to the pages with their texts."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from prn import layout
from prn.datasets.rows import read_index
from prn.reporting.bars import loss_figure, read_log
from prn.reporting.curves import RankedPredictions, SizeRecall, merge_sizes
from prn.reporting.distances import distance_grid
from prn.reporting.document import Block, Figure
from prn.reporting.evidence import NoEvidence, forget_pictures, read_evidence
from prn.reporting.failures import Failures, find_failures
from prn.reporting.figure_data import FigureData, figure_data
from prn.reporting.grids import RULE, MethodMaps, choose, methods_grid, score_grid
from prn.reporting.results import Results, Run
from prn.reporting.score_figures import curves_figure, histogram_figure
from prn.reporting.sheets import synthesis_sheet
from prn.reporting.wording import UNTRAINED, compared_variants, dataset_name, groups_of, listing, variant_name
from prn.settings.sections import Settings


@dataclass(slots=True)
class Studio:
    """Where figures come from and go to; holds one run's predictions, and what the figures of its category show."""

    root: Path
    folder: Path
    settings: Settings
    results: Results
    _held: RankedPredictions | None = None
    _data: dict[Run, FigureData] = field(default_factory=dict)
    _shown: list[str] = field(default_factory=list)

    def ranked(self, run: Run) -> RankedPredictions:
        """A run's predictions with their images; raises `NoEvidence`."""
        if self._held is None or self._held.evidence.run != run:
            file = run.file(self.root, layout.INDEX)
            if not file.is_file():
                raise NoEvidence(f"the index of {run.category} is not kept here")
            types = {row.path: row.type for row in read_index(file) if row.label}
            self._held = None
            self._held = RankedPredictions(read_evidence(self.root, run, types))
        return self._held

    def data_of(self, run: Run) -> FigureData:
        """A run's digest, with the score maps of the images that the category's grids show; raises `NoEvidence`."""
        if run not in self._data:
            if not self._shown:
                first = self.ranked(self.first_run(run.dataset, run.category)).evidence
                chosen = choose(first.image_scores, first.defective, self.settings.report.figure_rows)
                self._shown = [first.paths[item.index] for item in chosen]
            self._data[run] = figure_data(self.ranked(run), self._shown)
        return self._data[run]

    def data_of_category(self, dataset: str, category: str) -> tuple[dict[str, list[FigureData]], dict[str, str]]:
        """The seeds of every compared variant that was run; why others that were run cannot be shown."""
        found: dict[str, list[FigureData]] = {}
        missing: dict[str, str] = {}
        for name in self.shown_variants(dataset, category):
            seeds = self.results.seeds_of(dataset, category, name)
            try:
                found[name] = [self.data_of(Run(dataset, category, name, seed)) for seed in seeds]
            except NoEvidence as reason:
                missing[name] = str(reason)
        return found, missing

    def release(self) -> None:
        """Forget the predictions that were read."""
        self._held = None
        self._data.clear()
        self._shown = []
        forget_pictures()

    def shown_variants(self, dataset: str, category: str) -> list[str]:
        """The variants whose pictures stand side by side: all of those in the page's tables that were run."""
        names = compared_variants(dataset, self.results)
        return [name for name in names if self.results.seeds_of(dataset, category, name)]

    def first_run(self, dataset: str, category: str, variant: str | None = None) -> Run:
        """The first seed of a variant (PRN, else the first that was run); raises an empty `NoEvidence` without one.

        The control comes last: where anything else was run, its failures are of no interest.
        """
        names = [variant] if variant else self.shown_variants(dataset, category)
        names = sorted(names, key=lambda name: name == UNTRAINED)
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
    shown, missing = studio.data_of_category(dataset, category)
    blocks = _drawn(studio, dataset, category, shown, missing)
    recalls = {name: merge_sizes([one.sizes for one in runs]) for name, runs in shown.items()}
    failures = []
    with suppress(NoEvidence):
        failures.append(find_failures(studio.ranked(studio.first_run(dataset, category))))
    studio.release()
    return CategoryPictures(blocks, recalls, failures)


Drawing = Callable[[Studio, str, str], list[Block]]


def _drawn(
    studio: Studio, dataset: str, category: str, shown: dict[str, list[FigureData]], missing: dict[str, str]
) -> list[Block]:
    """A category's figures; what the kept files do not allow is named in one line for each reason."""
    drawings: tuple[tuple[Drawing, str], ...] = (
        (_score_grid, "score maps"),
        (partial(_methods_grid, shown), "methods side by side"),
        (_distance_grid, "distances to the prototypes"),
        (partial(_curves, shown), "curves"),
        (partial(_histograms, shown), "score histograms"),
        (_loss, "loss curves"),
        (_synthesis, "contact sheet of the synthesis"),
    )
    blocks: list[Block] = []
    reasons: dict[str, list[str]] = {}
    for draw, what in drawings:
        try:
            blocks += draw(studio, dataset, category)
        except NoEvidence as reason:
            reasons.setdefault(str(reason), []).append(what)
    if shown:
        for name, why in missing.items():
            reasons.setdefault(why, []).append(f"pictures of {variant_name(name)}")
    return [*blocks, *(f"*No {listing(what)}: {reason}.*" for reason, what in reasons.items() if reason)]


def _score_grid(studio: Studio, dataset: str, category: str) -> list[Block]:
    run = studio.first_run(dataset, category)
    path = f"figures/{dataset}/{category}.png"
    evidence = studio.ranked(run).evidence
    chosen = score_grid(evidence, studio.settings.report.figure_rows, studio.folder / path)
    rows = ", ".join(item.label for item in chosen)
    figure = Figure(
        path,
        f"{dataset_name(dataset)} {category}: input, ground truth, score map and overlay of test images ({rows})",
        f"{variant_name(run.variant)}, seed {run.seed}. {RULE} One colour scale for the category; the white line is the"
        " ground truth's outline.",
    )
    return [figure]


def method_maps(run: FigureData) -> MethodMaps:
    """A run as a row of the grid of methods."""
    return MethodMaps(variant_name(run.run.variant), run.maps, run.scale)


def _methods_grid(shown: dict[str, list[FigureData]], studio: Studio, dataset: str, category: str) -> list[Block]:
    run = studio.first_run(dataset, category)
    same = {name: [one for one in runs if one.run.seed == run.seed] for name, runs in shown.items()}
    shown_runs = [runs[0] for runs in same.values() if runs]
    if len(shown_runs) < 2:
        raise NoEvidence
    path = f"figures/{dataset}/{category}-methods.png"
    evidence, rows = studio.ranked(run).evidence, studio.settings.report.figure_rows
    methods_grid(evidence, [method_maps(one) for one in shown_runs], rows, studio.folder / path)
    words = listing([variant_name(one.run.variant) for one in shown_runs])
    figure = Figure(
        path,
        f"{dataset_name(dataset)} {category}: the same test images with the overlays of {words}, one row each",
        f"{words} on the same images, which {variant_name(run.variant)}'s scores choose by the rule above. Scores of"
        " different methods have no common unit: each method's are stretched over this category's test images, the"
        " colour bar holds for all.",
    )
    return [figure]


def _distance_grid(studio: Studio, dataset: str, category: str) -> list[Block]:
    """Of the first variant that has prototypes; raises the first stated reason where there is none."""
    path = f"figures/{dataset}/{category}_distances.png"
    reason = NoEvidence()
    for name in studio.shown_variants(dataset, category):
        try:
            run = studio.first_run(dataset, category, name)
            distance_grid(studio.root, studio.ranked(run).evidence, studio.folder / path)
            break
        except NoEvidence as missing:
            reason = reason if str(reason) else missing
    else:
        raise reason
    figure = Figure(
        path,
        f"{dataset_name(dataset)} {category}: distance to the nearest prototype at three scales beside the score map",
        f"{variant_name(run.variant)}, seed {run.seed}: input, the length of F - P* at each place of layer1, layer2 and"
        " layer3 (what the network gets; the control scores by their mean), the network's score map, ground truth.",
    )
    return [figure]


def _curves(shown: dict[str, list[FigureData]], studio: Studio, dataset: str, category: str) -> list[Block]:
    if not shown:
        studio.data_of(studio.first_run(dataset, category))  # says why there is none
    figures: list[Block] = []
    for number, names in enumerate(groups_of(list(shown)), 1):
        path = f"figures/{dataset}/{category}-curves{suffix(number)}.png"
        curves_figure({name: shown[name] for name in names}, studio.folder / path)
        words = listing([variant_name(name) for name in names])
        alt = f"{dataset_name(dataset)} {category}: image ROC, pixel ROC, pixel precision-recall and PRO curves of"
        figures.append(Figure(path, f"{alt} {words}", f"{words}: lines are means over the seeds, bands their range."))
    return figures


def suffix(number: int) -> str:
    """What tells the figures of several groups of methods apart in their file names."""
    return "" if number == 1 else f"-{number}"


def _histograms(shown: dict[str, list[FigureData]], studio: Studio, dataset: str, category: str) -> list[Block]:
    if not shown:
        studio.data_of(studio.first_run(dataset, category))  # says why there is none
    path = f"figures/{dataset}/{category}-scores.png"
    histogram_figure({name: runs[0] for name, runs in shown.items()}, studio.folder / path)
    words = listing([variant_name(name) for name in shown])
    figure = Figure(
        path,
        f"{dataset_name(dataset)} {category}: histograms of the image scores of good and defective images for {words}",
        "Image scores of the first seed: filled is good, hatched is defective.",
    )
    return [figure]


def _loss(studio: Studio, dataset: str, category: str) -> list[Block]:
    seeds = studio.results.seeds_of(dataset, category, "prn")
    found = {
        seed: read_log(Run(dataset, category, "prn", seed).file(studio.root, layout.TRAINING_LOG)) for seed in seeds
    }
    logs = {seed: log for seed, log in found.items() if log is not None}
    if not logs:
        raise NoEvidence("the training log is not kept here" if seeds else "")
    path = f"figures/{dataset}/{category}-loss.png"
    loss_figure(logs, studio.folder / path)
    last = ", ".join(f"{log['loss'].iloc[-1]:.3g} (seed {seed})" for seed, log in logs.items())
    figure = Figure(
        path,
        f"{dataset_name(dataset)} {category}: PRN's training loss and share of defect pixels by step; last loss {last}",
        "PRN's training: loss (pale: each step, dark: running mean) and the share of defect pixels in its batches.",
    )
    return [figure]


def _synthesis(studio: Studio, dataset: str, category: str) -> list[Block]:
    run = studio.first_run(dataset, category, "prn")
    path = f"figures/{dataset}/{category}-synthesis.png"
    synthesis_sheet(studio.root, run, studio.folder / path)
    figure = Figure(
        path,
        f"{dataset_name(dataset)} {category}: how the training's extended, heterologous and homologous anomalies are"
        " made, from normal image and source over region or noise, target area and mask to the result",
        f"The first anomalies that the training with seed {run.seed} sees (EA extended, HEA heterologous, HOA"
        " homologous).",
    )
    return [figure]
