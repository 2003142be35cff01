"""`delta_to_paper.md`: measured against published, number by number, with a verdict on each."""

from collections import Counter
from dataclasses import dataclass

from prn.reporting.document import Block, Bullets, Heading, Page, Table
from prn.reporting.published import MEAN, measured_by, published_mean, published_value
from prn.reporting.results import METRICS, NOT_RUN, OK, Results, Summary
from prn.reporting.wording import (
    METRIC_NAMES,
    dataset_name,
    generated_note,
    generated_title,
    is_ablation,
    measured,
    number,
    plural,
    signed,
    variant_name,
)
from prn.settings.sections import Settings

WITHIN, BELOW, ABOVE = "within", "below", "above"
NO_PUBLISHED, NOT_COMPARABLE = "no published number", "not comparable"


@dataclass(frozen=True, slots=True)
class Delta:
    """A measured number against its published one; `difference` is the difference of the two as printed."""

    dataset: str
    category: str
    variant: str
    metric: str
    measured: Summary
    published: float | None
    difference: float | None
    verdict: str


def mean_delta(settings: Settings, results: Results, dataset: str, variant: str, metric: str) -> Delta:
    """The mean of a data set against the published mean over the same categories."""
    summary = results.mean(dataset, variant, metric)
    present = tuple(
        category
        for category in results.categories(dataset)
        if results.value(dataset, category, variant, metric).mean is not None
    )
    paper = published_mean(dataset, present or tuple(results.categories(dataset)), variant, metric)
    return _delta(settings, (dataset, MEAN, variant, metric), summary, paper)


def category_delta(settings: Settings, results: Results, cell: tuple[str, str, str, str]) -> Delta:
    """One category (data set, category, variant, metric) against its published number."""
    return _delta(settings, cell, results.value(*cell), published_value(*cell))


def _delta(settings: Settings, cell: tuple[str, str, str, str], summary: Summary, paper: float | None) -> Delta:
    comparable = not settings.benchmark.generated_images
    difference = None
    if comparable and paper is not None and summary.mean is not None:
        digits = 3 if cell[3] == "seconds_per_image" else 1
        difference = round(round(summary.mean, digits) - round(paper, digits), digits)
    if summary.state == NOT_RUN:
        verdict = NOT_RUN
    elif not comparable:
        verdict = NOT_COMPARABLE
    elif paper is None:
        verdict = NO_PUBLISHED
    elif difference is None:
        verdict = summary.state
    else:
        verdict = judge(difference, settings.report.tolerance)
    return Delta(*cell, summary, paper, difference, verdict)


def judge(difference: float, tolerance: float) -> str:
    """`within` the tolerance (both ends included), `below` or `above` it."""
    if abs(difference) <= tolerance:
        return WITHIN
    return ABOVE if difference > 0 else BELOW


def delta_page(settings: Settings, results: Results) -> Page:
    """Means first, then every category; the times are compared without a verdict (other hardware)."""
    page = Page("delta_to_paper.md", generated_title("Difference to the paper", settings))
    tolerance = settings.report.tolerance
    page.add(
        *generated_note(settings),
        f"Verdicts: *within* {number(tolerance)} points of the published number, *below*, *above*, *no published"
        " number*, *not run*"
        + (", *not comparable* (generated images)" if settings.benchmark.generated_images else "")
        + ". **Above by more than the tolerance is flagged as a possible leak**: first check that no test image was"
        " used in training. Measured is the mean over the seeds, spread their standard deviation; the difference is"
        " that of the two printed numbers. A published mean goes over the categories that were measured.",
        count_verdicts(settings, results),
        *flagged(settings, results),
    )
    for dataset in results.datasets():
        page.add(Heading(dataset_name(dataset)))
        variants = _variants(dataset, results)
        means = [mean_delta(settings, results, dataset, v, metric) for v in variants for metric in METRICS]
        page.add(Heading("Means", 3), _table(means, with_category=False))
        for variant in variants:
            cells = [(dataset, c, variant, metric) for c in results.categories(dataset) for metric in METRICS]
            deltas = [category_delta(settings, results, cell) for cell in cells]
            if any(delta.verdict != NOT_RUN for delta in deltas) and not is_ablation(variant):
                page.add(Heading(variant_name(variant), 3), _table(deltas, with_category=True))
        absent = [variant_name(name) for name in measured_by(dataset) if name not in results.variants(dataset)]
        if absent:
            page.add(f"Published but not run here: {', '.join(absent)}.")
    page.add(*_times(settings, results))
    return page


def _variants(dataset: str, results: Results) -> list[str]:
    names = results.variants(dataset)
    return sorted(names, key=lambda name: (name != "prn", is_ablation(name)))


def _table(deltas: list[Delta], with_category: bool) -> Table:
    rows = []
    for delta in deltas:
        first = delta.category if with_category else variant_name(delta.variant)
        rows.append([first, METRIC_NAMES[delta.metric], *_numbers(delta), _verdict(delta)])
    header = ["Category" if with_category else "Method", "Metric", "Measured", "Spread", "Seeds"]
    return Table([*header, "Published", "Difference", "Verdict"], rows, left=2)


def _numbers(delta: Delta) -> list[str]:
    summary, metric = delta.measured, delta.metric
    digits = 3 if metric == "seconds_per_image" else 1
    return [
        measured(summary, metric),
        "n/a" if summary.spread is None else number(summary.spread, metric),
        str(summary.seeds),
        "-" if delta.published is None else number(delta.published, metric),
        "n/a" if delta.difference is None else signed(delta.difference, digits),
    ]


def _verdict(delta: Delta) -> str:
    return f"**{ABOVE}: possible leak**" if delta.verdict == ABOVE else delta.verdict


def _times(settings: Settings, results: Results) -> list[Block]:
    """Seconds an image beside Table 3's column T, without a verdict."""
    deltas = [
        mean_delta(settings, results, dataset, variant, "seconds_per_image")
        for dataset in results.datasets()
        for variant in _variants(dataset, results)
        if not is_ablation(variant)
    ]
    deltas = [delta for delta in deltas if delta.measured.state == OK]
    if not deltas:
        return []
    rows = [[dataset_name(delta.dataset), variant_name(delta.variant), *_numbers(delta)[:4]] for delta in deltas]
    header = ["Data set", "Method", "Measured", "Spread", "Seeds", "Published"]
    words = "Seconds an image at batch 1. The paper's were measured on other hardware: no verdict."
    return [Heading("Time"), words, Table(header, rows, left=2)]


def count_verdicts(settings: Settings, results: Results) -> str:
    """One sentence on PRN's means over all data sets."""
    deltas = [mean_delta(settings, results, d, "prn", m) for d in results.datasets() for m in METRICS]
    counts = Counter(delta.verdict for delta in deltas)
    if settings.benchmark.generated_images:
        return f"**Not comparable**: {plural(len(deltas), 'mean')} of PRN, measured on generated images."
    order = (WITHIN, BELOW, ABOVE, NO_PUBLISHED, "n/a", "stale", NOT_RUN)
    parts = [f"{counts[word]} {word}" for word in order if counts[word]]
    text = f"**Of PRN's {plural(len(deltas), 'published mean')}: {', '.join(parts)}** (tolerance"
    text = f"{text} {number(settings.report.tolerance)} points)."
    if counts[ABOVE]:
        text += " What is above may be a leak: see [the difference to the paper](delta_to_paper.md)."
    return text


def flagged(settings: Settings, results: Results) -> list[Block]:
    """Every category's number of PRN that is above the published one by more than the tolerance."""
    deltas = [
        category_delta(settings, results, (dataset, category, "prn", metric))
        for dataset in results.datasets()
        for category in results.categories(dataset)
        for metric in METRICS
    ]
    above = [delta for delta in deltas if delta.verdict == ABOVE]
    lines = [
        f"{dataset_name(d.dataset)} {d.category} {METRIC_NAMES[d.metric]}: {signed(d.difference or 0)}" for d in above
    ]
    return ["Possible leaks, category by category:", Bullets(lines)] if lines else []
