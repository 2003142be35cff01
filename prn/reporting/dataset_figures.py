"""The figures of a whole data set: bars by category, recall by defect size, and the grid of PRN's variants."""

from collections.abc import Iterable

from prn.reporting.bars import category_bars
from prn.reporting.curves import SizeRecall, merge_sizes
from prn.reporting.document import Block, Figure
from prn.reporting.evidence import NoEvidence
from prn.reporting.grids import methods_grid
from prn.reporting.pictures import CategoryPictures, Studio, method_maps, suffix
from prn.reporting.results import METRICS, Run
from prn.reporting.score_figures import size_figure
from prn.reporting.wording import compared_variants, dataset_name, groups_of, is_ablation, listing, variant_name


def dataset_figures(studio: Studio, dataset: str, pictures: list[CategoryPictures]) -> list[Block]:
    """Draw the figures of a data set: bars by category, recall by defect size; five methods in each."""
    variants = [v for v in compared_variants(dataset, studio.results) if _was_run(studio, dataset, v)]
    groups = groups_of(variants)
    bars = [_bars(studio, dataset, names, suffix(number)) for number, names in enumerate(groups, 1)]
    merged = {name: merge_sizes([p.sizes[name] for p in pictures if name in p.sizes]) for name in variants}
    merged = {name: sizes for name, sizes in merged.items() if any(one.regions for one in sizes)}
    groups = groups_of(list(merged))
    sizes = [
        _sizes(studio, dataset, {name: merged[name] for name in names}, suffix(number))
        for number, names in enumerate(groups, 1)
    ]
    return [*bars, *sizes]


def _was_run(studio: Studio, dataset: str, variant: str) -> bool:
    return any(studio.results.seeds_of(dataset, c, variant) for c in studio.results.categories(dataset))


def _bars(studio: Studio, dataset: str, variants: list[str], ending: str) -> Figure:
    with_paper = not studio.settings.benchmark.generated_images
    path = f"figures/{dataset}/bars{ending}.png"
    category_bars(dataset, variants, studio.results, with_paper, studio.folder / path)
    names = listing([variant_name(name) for name in variants])
    paper = " The black tick is PRN's published value." if with_paper else ""
    return Figure(
        path,
        f"{dataset_name(dataset)}: bars of the four metrics by category for {names}; the tables have the numbers",
        "Mean over the seeds, error bars: standard deviation (none with one seed); the axis of an AUROC starts at"
        f" chance, unless a value is below it.{paper}",
    )


def _sizes(studio: Studio, dataset: str, recalls: dict[str, list[SizeRecall]], ending: str) -> Figure:
    path = f"figures/{dataset}/sizes{ending}.png"
    size_figure(recalls, studio.folder / path)
    words = "; ".join(
        f"{variant_name(name)}: {_recalls(sizes)}" for name, sizes in recalls.items() if any(s.regions for s in sizes)
    )
    empty = [one.name for one in next(iter(recalls.values())) if not one.regions]
    none = f" No region has an area of {listing(empty)}." if empty else ""
    return Figure(
        path,
        f"{dataset_name(dataset)}: recall by defect size. {words}",
        "Recall by defect size: a region counts as found when at least half of it scores above the threshold that 1 %"
        f" of the normal pixels pass. All categories and seeds.{none}",
    )


def _recalls(sizes: Iterable[SizeRecall]) -> str:
    return ", ".join(f"{one.name} {100 * one.recall:.0f} %" for one in sizes if one.recall is not None)


def ablation_figures(studio: Studio, dataset: str) -> list[Block]:
    """Draw PRN and its variants side by side on the category where their AP differs most; nothing without variants."""
    names = ["prn", *(name for name in studio.results.variants(dataset) if is_ablation(name))]
    category = _most_telling(studio, dataset, names)
    if category is None:
        return []
    seed = min(studio.results.seeds_of(dataset, category, "prn"))
    runs = [Run(dataset, category, n, seed) for n in names if seed in studio.results.seeds_of(dataset, category, n)]
    path = f"figures/{dataset}/{category}-ablations.png"
    try:
        shown = [studio.data_of(run) for run in runs]
        evidence, rows = studio.ranked(runs[0]).evidence, studio.settings.report.figure_rows
        methods_grid(evidence, [method_maps(run) for run in shown], rows, studio.folder / path)
    except NoEvidence as reason:
        return [f"*No score maps of {dataset_name(dataset)}: {reason}.*"]
    finally:
        studio.release()
    words = listing([variant_name(run.variant) for run in runs])
    figure = Figure(
        path,
        f"{dataset_name(dataset)} {category}: the same test images with the overlays of {words}, one row each",
        f"{dataset_name(dataset)} {category}, the category on which the variants' AP differs most. PRN's scores choose"
        f" the images (as on the data set's page; seed {seed}); each variant's are stretched over the test images.",
    )
    return [figure]


def _most_telling(studio: Studio, dataset: str, names: list[str]) -> str | None:
    """The category of PRN's and its variants' widest range in AP (the first of equal ones)."""
    ranges: dict[str, float] = {}
    for category in studio.results.categories(dataset):
        found = {name: studio.results.value(dataset, category, name, METRICS[-1]).mean for name in names}
        known = [value for value in found.values() if value is not None]
        if len(known) > 1 and found["prn"] is not None:
            ranges[category] = max(known) - min(known)
    return max(ranges, key=lambda category: ranges[category], default=None)
