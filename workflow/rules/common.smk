# Settings, cells and helpers that every phase uses.
import json
import os
import re
import sys
from functools import lru_cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The code beside this workflow is meant, wherever another copy may be installed (a clone, a moved folder).
sys.path.insert(0, str(workflow.basedir))

from prn import layout
from prn.settings.loading import parse_settings, read_yaml
from prn.settings.variants import resolve_variant
from prn.datasets.own_sources import archives_digest, images_digest
from prn.encoder_files import weights_digest
from prn.settings.views import execution, view, view_of_prototypes
from prn.devices import gpu_count, use_this_python
from prn.errors import PrnError
from prn.layout import digest_file, sidecar
from prn.settings.methods import METHODS
from prn.provenance.code import code_digest
from prn.provenance.hashes import FileHashes
from prn.provenance.sidecars import recorded_listing

try:
    for file in workflow.configfiles:
        read_yaml(file)  # refuses a key that stands twice, of which Snakemake takes the last
    SETTINGS = parse_settings(config)
    use_this_python(workflow.basedir)
except PrnError as error:
    raise WorkflowError(f"params.yaml (with presets): {error}") from None

RUNS = {name: run for name, run in SETTINGS.benchmark.datasets.items() if run.categories and run.variants}
SEEDS = SETTINGS.benchmark.seeds
CATEGORIES = [(dataset, category) for dataset, run in RUNS.items() for category in run.categories]
CELLS = [
    {"dataset": dataset, "category": category, "variant": variant, "seed": seed}
    for dataset, run in RUNS.items()
    for category in run.categories
    for variant in run.variants
    for seed in SEEDS
]
GPUS = gpu_count()
# Trainings never share a GPU: one job a GPU at a time, also for the bare command.
workflow.global_resources.setdefault("gpu", max(1, GPUS))


wildcard_constraints:
    dataset="|".join(re.escape(name) for name in sorted({*RUNS, "dtd"})),
    category="[^/]+",
    variant="[^/]+",
    seed=r"\d+",
    digest="[0-9a-f]{16}",
    backbone="[a-z0-9_]+",


@lru_cache(maxsize=None)
def resolved(variant):
    return resolve_variant(SETTINGS, variant) if variant else SETTINGS


@lru_cache(maxsize=None)
def stage_view(stage, dataset="", category="", variant=""):
    """The settings that a stage reads for a cell: the rule's parameter, and what the command line hands over."""
    return view(resolved(variant), stage, dataset, category)


@lru_cache(maxsize=None)
def settings_json(stage, dataset="", category="", variant=""):
    return json.dumps(stage_view(stage, dataset, category, variant), sort_keys=True, separators=(",", ":"))


def cell_settings(stage):
    """A function for `params:` that gives the stage's settings for the wildcards."""
    return lambda wildcards: settings_json(
        stage, wildcards.dataset, wildcards.get("category", ""), wildcards.get("variant", "")
    )


def method_of(variant):
    return resolved(variant).method


def needs(variant, what):
    """Whether a variant's training needs the backbone, the prototypes or the textures."""
    return METHODS[method_of(variant)].needs(what, resolved(variant))


@lru_cache(maxsize=None)
def execution_of(variant=""):
    """How a job runs and where the user's own files lie, without a say in the result.

    It is a resource, not a parameter: a changed one reruns nothing.
    """
    return json.dumps(execution(resolved(variant)), separators=(",", ":"))


def method_code(stage):
    return lambda wildcards: code_digest(stage, METHODS[method_of(wildcards.variant)].module)


@lru_cache(maxsize=None)
def prototype_digest_of(variant, seed):
    """The name of the prototypes that a variant uses, None where it uses none."""
    if not needs(variant, "prototypes"):
        return None
    return layout.prototype_digest(view_of_prototypes(stage_view("train", variant=variant)), seed)


# (digest) -> (settings, seed): what a prototypes file is made with; variants that agree share it.
PROTOTYPES = {}
for variant in SETTINGS.variants:
    for seed in SEEDS:
        digest = prototype_digest_of(variant, seed)
        if digest is not None:
            key = view_of_prototypes(stage_view("train", variant=variant))
            PROTOTYPES[digest] = (json.dumps(key, sort_keys=True, separators=(",", ":")), seed)


def made(artefact):
    """An input that is made again only because somebody reads it: the file, and the digest file that stands for it.

    The time stamp of the file itself is ignored, so that a touched or copied file reruns nothing; the digest file
    changes with its bytes. What `kept` asks for is made anyhow: its readers name the digest file alone.
    """
    return [ancient(artefact), digest_file(artefact)]


# The cached images (data/tensors) are made by the stages that read them (prn/stages/caches.py); no rule knows the files.
# What they are made from is an input of the rules of these stages, and the code that makes them counts with theirs.
TEXTURES_SOURCE = layout.RECEIPT.format(**layout.TEXTURES)


# Users' own files are known by what they hold, not by name or place: who reads them has their digest among the
# parameters. Where they are not on this machine, as in a clone, what was recorded stands. The hashes are remembered when a
# run starts, and by the stages; a dry run writes nothing.
HASHES = {}


def hashes_in(pattern, **names):
    file = layout.path(pattern, **names)
    return HASHES.setdefault(file, FileHashes(file))


@lru_cache(maxsize=None)
def own_images(dataset, category):
    """What a user's own folder or CSV holds for a category."""
    hashes = hashes_in(layout.HASHES, dataset=dataset, category=category)
    return images_digest(dataset, SETTINGS.download.sources.get(dataset), category, hashes)


@lru_cache(maxsize=None)
def own_archives(dataset):
    """The archives of a data set that lie on this machine."""
    hashes = hashes_in(layout.ARCHIVE_HASHES, dataset=dataset)
    return archives_digest(dataset, SETTINGS.download.sources.get(dataset), hashes)


@lru_cache(maxsize=None)
def own_weights(backbone):
    """The user's own file of an encoder's weights."""
    return weights_digest(backbone, SETTINGS.weights.path, hashes_in(layout.WEIGHTS_HASHES, backbone=backbone))


def known(digest, artefact):
    return recorded_listing(Path(artefact)) if digest is None else digest


onstart:
    for hashes in HASHES.values():
        hashes.save()


def outputs(artefact):
    """What a stage writes for an artefact: the file, its digest and its provenance."""
    return [artefact, digest_file(artefact), sidecar(artefact)]


def shown_in_report(path):
    """A page as Snakemake's own report shows it (`snakemake --report`): with a caption, below its data set."""
    name, _, ending = path.removeprefix("reports/").rpartition(".")
    if path == layout.RESULTS:
        return report(
            path, caption="../report/results.rst", category="All data sets", labels={"what": "every number, as a table"}
        )
    if ending == "html":
        return report(
            path, caption="../report/pages.rst", category="All data sets", labels={"what": "every table and figure"}
        )
    if ending == "md" and name in RUNS:
        return report(path, caption="../report/dataset.rst", category=name, labels={"what": "tables"})
    return path


def metrics_of(cell):
    return layout.METRICS.format(**cell)


def backbone_of(variant):
    return layout.BACKBONE.format(backbone=resolved(variant).model.backbone)


def prototypes_of(cell):
    digest = prototype_digest_of(cell["variant"], int(cell["seed"]))
    return None if digest is None else layout.PROTOTYPES.format(**{**cell, "digest": digest})


# What a cell keeps beside the pages, in the order in which it is made.
KEPT = {
    "index": lambda cell: layout.INDEX.format(**cell),
    "split": lambda cell: layout.SPLIT.format(**cell),
    "prototypes": prototypes_of,
    "checkpoint": lambda cell: layout.CHECKPOINT.format(**cell),
    "metrics": metrics_of,
}


def kept(cells, last="metrics"):
    """What cells keep, up to a kind, with the digest files: asked for by name, so that what was deleted is made again."""
    kinds = list(KEPT)[: list(KEPT).index(last) + 1]
    files = dict.fromkeys(KEPT[kind](cell) for cell in cells for kind in kinds)
    return [file for kept_file in filter(None, files) for file in (kept_file, digest_file(kept_file))]


def prototypes_inputs(wildcards):
    settings, seed = PROTOTYPES[wildcards.digest]
    backbone = layout.BACKBONE.format(backbone=json.loads(settings)["model"]["backbone"])
    return [
        digest_file(layout.SPLIT.format(dataset=wildcards.dataset, category=wildcards.category, seed=seed)),
        digest_file(layout.INDEX.format(**wildcards)),
        *made(backbone),
    ]


def train_inputs(wildcards):
    files = [digest_file(layout.SPLIT.format(**wildcards)), digest_file(layout.INDEX.format(**wildcards))]
    if needs(wildcards.variant, "backbone"):
        files += made(backbone_of(wildcards.variant))
    prototypes = prototypes_of(wildcards)
    if prototypes:
        files.append(digest_file(prototypes))
    if needs(wildcards.variant, "textures"):
        files += made(TEXTURES_SOURCE)
    return files


def refuse_files_without_records():
    """Snakemake takes files of which it has no record as they are, also where they were made with other settings."""
    records = [*Path(".snakemake").glob("metadata/*"), *Path(".snakemake").glob("metadata.db")]
    if records or "PRN_ADOPTING" in os.environ or not workflow.is_main_process:
        return
    found = next((file for file in kept(CELLS) if Path(file).exists()), None)
    if found is not None:
        raise WorkflowError(
            f"{found} and what else lies here was not made by this Snakemake, or its records (.snakemake) are lost."
            " `python -m prn adopt` (with the --preset and --root of this run) judges the files by their provenance and"
            " takes over those that match."
        )


refuse_files_without_records()
