"""`data_card.md`: the images: counts, defect types, areas, sizes, splits, what was dropped, checksums, licences."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from safetensors import safe_open

from prn.config import Settings
from prn.datasets.registry import check_counts, find, registry
from prn.datasets.rows import IndexRow, read_index
from prn.errors import PrnError
from prn.metrics.groups import AREA_EDGES
from prn.reporting.document import Block, Bullets, Heading, Page, Table
from prn.reporting.results import Results
from prn.reporting.wording import dataset_name, generated_title, plural
from prn.splits import Split, load_split

TEXTURES = "dtd"


def data_card_page(root: Path, settings: Settings, results: Results) -> Page:
    """Every planned data set and category, and the textures."""
    page = Page("data_card.md", generated_title("Data card", settings))
    generated = settings.benchmark.generated_images
    if generated:
        page.add(
            "**Generated images** in the layouts of the published archives, made from photographs. Licences and"
            " citations below are those of the published data sets, whose images are not used here."
        )
    page.add(
        "Counts come from the index of each category (every image was decoded once), splits from their manifests."
        " Areas are shares of the image at full resolution."
    )
    for dataset in [*results.datasets(), TEXTURES]:
        page.add(Heading(dataset_name(dataset)), *_terms(root, dataset))
        if dataset == TEXTURES:
            page.add(*_textures(root))
        else:
            page.add(*_categories(root, dataset, settings, results))
    return page


def _terms(root: Path, dataset: str) -> list[Block]:
    """Licence, citation and checksums."""
    lines = []
    if dataset in registry():
        facts = find(dataset)
        lines += [f"[{facts.title}]({facts.home}), licence {facts.licence}", f"cite: {facts.citation}"]
        lines += [facts.note] if facts.note else []
    else:
        lines.append("a data set of the user's own: its licence is not known here")
    receipt = _json(root / "data" / "receipts" / f"{dataset}.json")
    if receipt is None:
        lines.append("not obtained in this run")
    elif receipt.get("archives"):
        lines += [f"archive `{name}`, sha256 `{digest}`" for name, digest in sorted(receipt["archives"].items())]
    else:
        lines.append("read from the user's own folder, not from an archive: no archive's checksum")
    return [Bullets(lines)]


def _textures(root: Path) -> list[Block]:
    """How many textures the heterologous anomalies are made from."""
    for file in sorted((root / "data" / "tensors" / TEXTURES / "textures").glob("*.safetensors")):
        with safe_open(file, framework="np") as stored:
            count, size = stored.get_slice("textures").get_shape()[:2]
        return [f"{plural(count, 'texture')} at {size}x{size}, the source of heterologous anomalies."]
    return []


def _categories(root: Path, dataset: str, settings: Settings, results: Results) -> list[Block]:
    counts, types, remarks = [], [], []
    for category in results.categories(dataset):
        file = root / "data" / "index" / dataset / f"{category}.csv"
        if not file.is_file():
            remarks.append(f"{category}: not indexed")
            continue
        rows = read_index(file)
        splits = _splits(root, dataset, category, settings)
        counts.append([category, *_counts(rows, splits), _sizes(rows)])
        types += [[category, *line] for line in _types(rows, splits)]
        found = _remarks(root, dataset, category, rows, splits)
        if dataset in registry() and not settings.benchmark.generated_images:
            found += _published(dataset, category, rows)
        remarks += [f"{category}: {text}" for text in found]
    header = ["Category", "Training normals", "Training anomalies", "Test good", "Test defective", "Used to train"]
    header += ["Seen", "Tested good", "Tested defective", "Image sizes"]
    blocks: list[Block] = [Table(header, counts)] if counts else []
    if types:
        edges = ["0", *(f"{100 * edge:g}" for edge in AREA_EDGES), "100"]
        bins = [f"{low}-{high} %" for low, high in pairwise(edges)]
        header = ["Category", "Defect", "Images", "Without mask", "Smallest", "Median", "Largest", *bins, "Seen"]
        title = Heading("Defect types and their areas", 3)
        blocks += [title, "The last column counts the type's seen anomalies by seed.", Table(header, types, left=2)]
    return [*blocks, Heading("Remarks", 3), Bullets(remarks) if remarks else "None."]


def _counts(rows: list[IndexRow], splits: dict[int, Split]) -> list[str]:
    """As published, then as used; the splits of all seeds have the same numbers unless they are given as a range."""
    published = Counter((row.split, row.label) for row in rows)
    labels = {row.path: row.label for row in rows}
    used = [[len(s.train_normal), len(s.seen), *_tested(s, labels)] for s in splits.values()]
    columns = [_range(list(values)) for values in zip(*used, strict=True)] or ["n/a"] * 4
    return [*(f"{published[key]:,}" for key in (("train", 0), ("train", 1), ("test", 0), ("test", 1))), *columns]


def _tested(split: Split, labels: dict[str, int]) -> list[int]:
    defective = sum(labels.get(path, 0) for path in split.test)
    return [len(split.test) - defective, defective]


def _range(values: list[int]) -> str:
    return f"{values[0]:,}" if len(set(values)) == 1 else f"{min(values):,}-{max(values):,}"


def _sizes(rows: list[IndexRow]) -> str:
    sizes = Counter((row.width, row.height) for row in rows)
    if len(sizes) == 1:
        width, height = next(iter(sizes))
        return f"{width}x{height}"
    widths, heights = zip(*sizes, strict=True)
    return f"{min(widths)}-{max(widths)}x{min(heights)}-{max(heights)}"


def _types(rows: list[IndexRow], splits: dict[int, Split]) -> list[list[str]]:
    """One line a defect type: images, masks, areas, and how many of it were drawn as seen."""
    kind_of = {row.path: row.type for row in rows}
    lines = []
    for kind in sorted({row.type for row in rows if row.label}):
        chosen = [row for row in rows if row.label and row.type == kind]
        areas = [row.mask_area / (row.width * row.height) for row in chosen if row.mask and row.mask_area >= 0]
        without = sum(not row.mask for row in chosen)
        extent = [_share(value) for value in (min(areas), median(areas), max(areas))] if areas else ["n/a"] * 3
        bins = Counter(sum(area >= edge for edge in AREA_EDGES) for area in areas)
        seen = ", ".join(
            f"{sum(kind_of.get(path) == kind for path in split.seen)} ({seed})" for seed, split in splits.items()
        )
        spread = [str(bins[place]) for place in range(len(AREA_EDGES) + 1)]
        lines.append([kind, f"{len(chosen):,}", str(without), *extent, *spread, seen or "n/a"])
    return lines


def _share(value: float) -> str:
    return f"{100 * value:.2g} %"


def _remarks(root: Path, dataset: str, category: str, rows: list[IndexRow], splits: dict[int, Split]) -> list[str]:
    """What was dropped or moved, and what was lost in shrinking."""
    found = []
    for seed, split in splits.items():
        for reason, count in sorted(Counter(split.dropped.values()).items()):
            found.append(f"seed {seed}: {plural(count, 'image')} dropped, {reason}")
        if split.moved:
            moved = plural(len(split.moved), "training anomaly", "training anomalies")
            found.append(f"seed {seed}: {moved} moved to the test set")
        if split.note:
            found.append(f"seed {seed}: {split.note}")
    empty = sum(bool(row.mask) and row.label == 1 and row.mask_area == 0 for row in rows)
    if empty:
        found.append(f"{plural(empty, 'defect')} with an empty mask")
    for file in sorted((root / "data" / "tensors" / dataset / category).glob("*.safetensors.prov.json")):
        lost = ((_json(file) or {}).get("record") or {}).get("lost_regions")
        size = file.name.partition(".")[0]
        if lost is not None:
            regions = plural(int(lost), "defect region") if lost else "no defect region"
            found.append(
                f"{regions} of all masks would vanish at {size}x{size}" + (" and kept one pixel" if lost else "")
            )
    return found


def _published(dataset: str, category: str, rows: list[IndexRow]) -> list[str]:
    """Where the counts are not the published ones."""
    if category not in find(dataset).counts:
        return []
    numbers = Counter((row.split, row.label) for row in rows)
    counts = {
        "train": numbers["train", 0] + numbers["train", 1],
        "test": numbers["test", 0] + numbers["test", 1],
        "good": numbers["test", 0],
        "defective": numbers["test", 1],
        "all_defective": numbers["train", 1] + numbers["test", 1],
    }
    try:
        return check_counts(dataset, category, counts) or ["the counts are the published ones"]
    except KeyError:
        return []


def _splits(root: Path, dataset: str, category: str, settings: Settings) -> dict[int, Split]:
    found = {}
    for seed in settings.benchmark.seeds:
        file = root / "data" / "splits" / dataset / category / f"seed{seed}.json"
        if file.is_file():
            found[seed] = load_split(file)
    return found


def _json(file: Path) -> dict[str, Any] | None:
    """A JSON object, None where there is no such file."""
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PrnError(f"{file}: not readable ({error}); run the stage that makes it again") from error
    return data if isinstance(data, dict) else None
