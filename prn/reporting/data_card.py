"""`data_card.md`: the images: counts, defect types, areas, sizes, splits, what was dropped, checksums, licences."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from safetensors import safe_open

from prn import layout
from prn.datasets.registry import check_counts, find, registry
from prn.datasets.rows import IndexRow, contradictions, read_index
from prn.errors import PrnError
from prn.metrics.groups import AREA_EDGES
from prn.provenance.files import sha256_file
from prn.reporting.document import Block, Bullets, Heading, Page, Table
from prn.reporting.results import Results
from prn.reporting.wording import dataset_name, generated_title, plural
from prn.settings.sections import Settings
from prn.splits import Split, load_split

TEXTURES = layout.TEXTURES["dataset"]


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
        " Areas are measured at full resolution."
    )
    for dataset in [*results.datasets(), TEXTURES]:
        page.add(Heading(dataset_name(dataset)), *_terms(root, dataset, settings))
        if dataset == TEXTURES:
            page.add(*_textures(root))
        else:
            page.add(*_categories(root, dataset, settings, results))
    return page


def _terms(root: Path, dataset: str, settings: Settings) -> list[Block]:
    """Licence, citation and checksums."""
    lines = []
    if dataset in registry():
        facts = find(dataset)
        lines += [f"[{facts.title}]({facts.home}), licence {facts.licence}", f"please cite: {facts.citation}"]
        lines += [facts.note] if facts.note else []
    else:
        credit = settings.report.credits.get(dataset, "its licence is not known here (setting `report.credits`)")
        lines.append(f"a data set of the user's own: {credit}")
    receipt = _json(root / layout.path(layout.RECEIPT, dataset=dataset))
    if receipt is None:
        lines.append("not obtained in this run")
    elif receipt.get("archives"):
        lines += [f"archive `{name}`, sha256 `{digest}`" for name, digest in sorted(receipt["archives"].items())]
    else:
        lines.append("read from the user's own folder, not from an archive: no archive's checksum")
    return [Bullets(lines)]


def _textures(root: Path) -> list[Block]:
    """How many textures the heterologous anomalies are made from."""
    for file in sorted(root.glob(layout.TENSORS.format(**layout.TEXTURES, size="*"))):
        with safe_open(file, framework="np") as stored:
            count, size = stored.get_slice("textures").get_shape()[:2]
            paths = json.loads((stored.metadata() or {}).get("prn", "{}")).get("paths", [])
        folders = plural(len({Path(path).parent for path in paths}), "folder")
        return [f"{plural(count, 'texture')} in {folders}, at {size}x{size}: the source of heterologous anomalies."]
    return ["No texture was read: no variant of this run makes heterologous anomalies."]


def _categories(root: Path, dataset: str, settings: Settings, results: Results) -> list[Block]:
    indexed: dict[str, tuple[list[IndexRow], dict[int, Split]]] = {}
    remarks = []
    for category in results.categories(dataset):
        file = root / layout.path(layout.INDEX, dataset=dataset, category=category)
        if not file.is_file():
            remarks.append(f"{category}: not indexed")
            continue
        rows, splits = read_index(file), _splits(root, dataset, category, settings)
        indexed[category] = rows, splits
        found = _remarks(root, dataset, category, rows, splits)
        if dataset in registry() and not settings.benchmark.generated_images:
            found += _published(dataset, category, rows)
        remarks += [f"{category}: {text}" for text in found]
    blocks: list[Block] = []
    if indexed:
        seeds = settings.benchmark.seeds
        blocks += [
            _count_table(indexed),
            *_type_tables(indexed, seeds),
            *_checksums(root, dataset, list(indexed), seeds),
        ]
    return [*blocks, Heading("Remarks", 3), Bullets(remarks) if remarks else "None."]


def _count_table(indexed: dict[str, tuple[list[IndexRow], dict[int, Split]]]) -> Table:
    header = ["Category", "Training normals", "Training anomalies", "Test good", "Test defective", "Used to train"]
    header += ["Seen", "Tested good", "Tested defective", "Width x height"]
    rows = [[category, *_counts(rows, splits), _sizes(rows)] for category, (rows, splits) in indexed.items()]
    return Table(header, rows)


def _type_tables(indexed: dict[str, tuple[list[IndexRow], dict[int, Split]]], seeds: list[int]) -> list[Block]:
    """Defect types with what was drawn of each, and the areas of their masks."""
    types, areas = [], []
    for category, (rows, splits) in indexed.items():
        kind_of = {row.path: row.type for row in rows}
        for kind in sorted({row.type for row in rows if row.label}):
            chosen = [row for row in rows if row.label and row.type == kind]
            without = sum(not row.mask for row in chosen)
            seen = [str(sum(kind_of.get(p) == kind for p in splits[s].seen)) if s in splits else "n/a" for s in seeds]
            types.append([category, kind, f"{len(chosen):,}", f"{without:,}", *seen])
            if masked := [row.mask_area / (row.width * row.height) for row in chosen if row.mask]:
                areas.append([category, kind, *_areas(masked)])
    if not types:
        return []
    header = ["Category", "Defect", "Images", "Without mask", *(f"Seen, seed {seed}" for seed in seeds)]
    blocks: list[Block] = [Heading("Defect types", 3), Table(header, types, left=2)]
    if areas:
        edges = ["0", *(f"{100 * edge:g}" for edge in AREA_EDGES), "100"]
        header = ["Category", "Defect", "Smallest", "Median", "Largest"]
        header += [f"{low}-{high} %" for low, high in pairwise(edges)]
        text = "Share of the image that a mask covers, and how many masks lie in each range."
        blocks += [Heading("Defect areas", 3), text, Table(header, areas, left=2)]
    return blocks


def _areas(shares: list[float]) -> list[str]:
    bins = Counter(sum(share >= edge for edge in AREA_EDGES) for share in shares)
    extent = [_share(value) for value in (min(shares), median(shares), max(shares))]
    return [*extent, *(str(bins[place]) for place in range(len(AREA_EDGES) + 1))]


def _share(value: float) -> str:
    """A share in percent with two digits that count."""
    percent = 100 * value
    digits = 0 if percent >= 9.95 else 1 if percent >= 0.995 else 2 if percent >= 0.0995 else 3
    return f"{percent:.{digits}f} %"


def _checksums(root: Path, dataset: str, categories: list[str], seeds: list[int]) -> list[Block]:
    """What stands for the bytes of every image and mask that was indexed, and of every split."""

    def start(pattern: str, category: str, seed: int = 0) -> str:
        file = root / layout.path(pattern, dataset=dataset, category=category, seed=seed)
        return f"`{sha256_file(file)[:16]}`" if file.is_file() else "n/a"

    rows = [
        [category, start(layout.INDEX, category), *(start(layout.SPLIT, category, seed) for seed in seeds)]
        for category in categories
    ]
    text = (
        "The first 16 digits of the sha256 of each index, which holds those of its images and masks, and of each split."
        " `prn verify` holds the files against the index."
    )
    header = ["Category", "Index", *(f"Split, seed {seed}" for seed in seeds)]
    return [Heading("Checksums", 3), text, Table(header, rows)]


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


def _remarks(root: Path, dataset: str, category: str, rows: list[IndexRow], splits: dict[int, Split]) -> list[str]:
    """What was dropped or moved, which labels contradict each other, and what was lost in shrinking."""
    said: dict[str, list[int]] = {}
    for seed, split in splits.items():
        for text in _of_split(split):
            said.setdefault(text, []).append(seed)
    found = []
    for text, seeds in said.items():
        which = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: "
        found.append(text if len(seeds) == len(splits) else which + text)
    found += [f"`{normal}` and `{defect}` are the same image" for normal, defect in contradictions(rows)]
    if empty := sum(bool(row.mask) and row.label == 1 and row.mask_area == 0 for row in rows):
        found.append(f"{plural(empty, 'defect')} with an empty mask")
    masks = sum(row.label == 1 and row.mask_area > 0 for row in rows)
    folder = root / layout.path(layout.TENSORS, dataset=dataset, category=category, size=0).parent
    for file in sorted(folder.glob(layout.sidecar("*.safetensors"))):
        record = (_json(file) or {}).get("record") or {}
        if masks and "lost_regions" in record:
            found.append(_lost(record, file.name.partition(".")[0], masks))
    return found


def _of_split(split: Split) -> list[str]:
    """What a user must know of one seed's split."""
    found = [
        f"{plural(count, 'image')} dropped ({reason})"
        for reason, count in sorted(Counter(split.dropped.values()).items())
    ]
    if split.moved:
        moved = plural(len(split.moved), "training anomaly", "training anomalies")
        found.append(f"{moved} moved to the test set")
    return [*found, split.note] if split.note else found


def _lost(record: dict[str, Any], size: str, masks: int) -> str:
    """How many regions of the masks would be gone at the working size."""
    lost, touched = int(record["lost_regions"]), record.get("masks_with_lost_regions")
    if not lost:
        return f"no defect region vanishes at {size}x{size}"
    where = "" if touched is None else f" in {touched} of {plural(masks, 'mask')}"
    each = "it keeps" if lost == 1 else "each keeps"
    return f"{plural(lost, 'defect region')}{where} would vanish at {size}x{size}; {each} one pixel"


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
        file = root / layout.path(layout.SPLIT, dataset=dataset, category=category, seed=seed)
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
