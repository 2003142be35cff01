"""`reports/README.md`: one screen with what was run, on what, the verdict, and where everything else stands."""

from statistics import fmean

from prn.reporting.delta import count_verdicts
from prn.reporting.deviations import changed_settings
from prn.reporting.document import Block, Bullets, Code, Heading, Page, Table
from prn.reporting.published import published_mean
from prn.reporting.results import METRICS, Results
from prn.reporting.wording import (
    METRIC_NAMES,
    NAIVE,
    UNTRAINED,
    dataset_name,
    generated_title,
    is_ablation,
    listing,
    measured,
    number,
    plural,
    variant_name,
)
from prn.settings.sections import Settings

TOO_EASY = 75.0
MOST_COMMITS = 2


def overview_page(settings: Settings, results: Results, others: list[tuple[str, str]], unplanned: int) -> Page:
    """The report's first page; `others` are the remaining pages with a few words on each."""
    page = Page("README.md", generated_title("PRN benchmark", settings))
    page.add(*_warnings(settings, results))
    page.add(Heading("Verdict"), verdict(settings, results), headline(settings, results))
    page.add(*_naive(results))
    page.add(Heading("What was run"), Bullets(_what(settings, results, unplanned)))
    page.add(Heading("Pages"), Bullets([f"[{name}]({name}): {words}" for name, words in others]))
    page.add(Heading("To make it again"), Code(_again(settings)))
    return page


def _warnings(settings: Settings, results: Results) -> list[Block]:
    blocks: list[Block] = []
    if settings.benchmark.generated_images:
        blocks.append(
            "**Generated images.** Everything here was measured on small archives in the published layouts, made from"
            " photographs. It shows whether the pipeline works; no number is comparable with the paper."
        )
    elif changed := changed_settings(settings):
        blocks.append(
            f"**Not the paper's recipe.** {plural(len(changed), 'setting')} differ from it ({listing(changed)};"
            " [deviations.md](deviations.md) has the values): a gap to the published numbers is no verdict on PRN."
        )
    if any(row.weights == "random" for row in results.rows):
        blocks.append(
            "**Random features.** No ImageNet weights were at hand: the encoder is random, and numbers are to be"
            " expected lower than with pretrained features."
        )
    return blocks


def verdict(settings: Settings, results: Results) -> str:
    """One sentence: how PRN's measured means compare."""
    if not results.done:
        return "Nothing has been run yet."
    if settings.benchmark.generated_images:
        return "**Not comparable** with the paper (generated images). " + _against_control(results)
    return f"{count_verdicts(settings, results)} {_against_control(results)}"


def _against_control(results: Results) -> str:
    """What training adds: PRN and the untrained control over the categories that both have."""
    both = {
        metric: [
            (ours, control)
            for dataset in results.datasets()
            for category in results.categories(dataset)
            if (ours := results.value(dataset, category, "prn", metric).mean) is not None
            and (control := results.value(dataset, category, UNTRAINED, metric).mean) is not None
        ]
        for metric in ("image_auroc", "ap")
    }
    if not all(both.values()):
        return "PRN and the untrained control were not both run."
    image, pixel = (tuple(fmean(side) for side in zip(*pairs, strict=True)) for pairs in both.values())
    text = (
        f"Over {plural(len(both['image_auroc']), 'category', 'categories')} PRN reaches an image AUROC of"
        f" {number(image[0])} and an AP of {number(pixel[0])}, the untrained control {number(image[1])} and"
        f" {number(pixel[1])}."
    )
    return text if pixel[0] > pixel[1] and image[0] >= image[1] else f"{text} **Training does not pay here.**"


def headline(settings: Settings, results: Results) -> Table:
    """Means per data set: PRN, its control and the other methods, measured beside published."""
    generated = settings.benchmark.generated_images
    header = ["Data set", "Method", *(METRIC_NAMES[metric] for metric in METRICS)]
    if not generated:
        header += [f"{METRIC_NAMES[metric]}, paper" for metric in METRICS]
    rows = []
    for dataset in results.datasets():
        for variant in results.variants(dataset):
            if is_ablation(variant) or variant in NAIVE:
                continue
            cells = [measured(results.mean(dataset, variant, metric), spread=True) for metric in METRICS]
            row = [f"[{dataset_name(dataset)}]({dataset}.md)", variant_name(variant), *cells]
            if not generated:
                row += [_paper(results, dataset, variant, metric) for metric in METRICS]
            rows.append(row)
    return Table(header, rows, left=2)


def _paper(results: Results, dataset: str, variant: str, metric: str) -> str:
    value = published_mean(dataset, tuple(results.categories(dataset)), variant, metric)
    return "-" if value is None else number(value)


def _naive(results: Results) -> list[Block]:
    """Image AUROC of the naive baselines by category, and whether a category's defects are too easy."""
    names = [name for name in NAIVE if name in results.variants()]
    if not names:
        return []
    variants = ["prn", "untrained", *names]
    rows, easy, known = [], [], 0
    for dataset in results.datasets():
        if not set(names) & set(results.variants(dataset)):
            continue
        for category in results.categories(dataset):
            cells = {name: results.value(dataset, category, name, "image_auroc") for name in variants}
            rows.append([f"{dataset_name(dataset)} {category}", *(measured(cells[name]) for name in variants)])
            known += any(cells[name].mean is not None for name in names)
            if any((cells[name].mean or 0) > TOO_EASY for name in names):
                easy.append(f"{dataset_name(dataset)} {category}")
    words = f"Are the defects trivial? Image AUROC of {listing([f'the {NAIVE[name]}' for name in names])} beside PRN: "
    words += (
        f"above {TOO_EASY:.0f} on {listing(easy)}: **these defects are too easy.**"
        if easy
        else f"none above {TOO_EASY:.0f}."
        if known
        else "not run."
    )
    return [words, Table(["Category", *(variant_name(name) for name in variants)], rows)]


def _what(settings: Settings, results: Results, unplanned: int) -> list[str]:
    seeds = settings.benchmark.seeds
    sets = [
        f"{dataset_name(d)} ({plural(len(results.categories(d)), 'category', 'categories')})"
        for d in results.datasets()
    ]
    devices = sorted({row.device for row in results.rows if row.device})
    commits = sorted({(row.commit[:12], row.tree_clean) for row in results.rows if row.commit}, key=str)
    lines = [
        f"preset `{settings.benchmark.preset}`: {listing(sets) or 'no data set'};"
        f" {plural(len(results.variants()), 'variant')},"
        f" {plural(len(seeds), 'seed')} ({listing(list(map(str, seeds)))})",
        f"{len(results.done):,} of {len(results.plan):,} runs done" + (f" on {listing(devices)}" if devices else ""),
    ]
    if len(commits) > MOST_COMMITS:
        lines.append(f"**the results come from {len(commits)} states of the code**: see [runs](runs.md)")
    elif commits:
        lines.append("code: " + listing([f"`{c}`" + ("" if clean else " (tree not clean)") for c, clean in commits]))
    if results.stale:
        reasons = listing(sorted({reason.rpartition(": ")[2] for reason in results.stale.values()}))
        lines.append(
            f"**{plural(len(results.stale), 'run')} stale, shown as such**: {reasons}; see [failures.md](failures.md)"
        )
    if results.missing:
        by_variant: dict[str, int] = {}
        for run in results.missing:
            by_variant[run.variant] = by_variant.get(run.variant, 0) + 1
        counts = listing([f"{name} {count}" for name, count in sorted(by_variant.items())][:6])
        more = " and others" if len(by_variant) > 6 else ""
        lines.append(f"not run: {plural(len(results.missing), 'run')} ({counts}{more}); see [failures.md](failures.md)")
    else:
        lines.append("nothing that the settings ask for is missing")
    if unplanned:
        lines.append(f"{plural(unplanned, 'metrics file')} of runs that the settings do not ask for: left out")
    return lines


def _again(settings: Settings) -> str:
    preset = settings.benchmark.preset
    if preset == "full":
        return "snakemake --cores 8 all"
    if preset.startswith("demo"):
        return f"make {preset}"
    return f"snakemake --directory runs/{preset} --configfile workflow/presets/{preset}.yaml --cores 2 all"
