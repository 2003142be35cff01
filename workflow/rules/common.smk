# Settings, cells and helpers that every phase uses.
import json
from functools import lru_cache

from snakemake.exceptions import WorkflowError

from prn import layout
from prn.config import parse_settings, resolve_variant
from prn.datasets.listing import listing_digest
from prn.views import view, view_of_prototypes
from prn.devices import gpu_count, use_this_python
from prn.errors import PrnError
from prn.layout import digest_file, sidecar
from prn.methods import METHODS
from prn.provenance import code_digest

try:
    SETTINGS = parse_settings(config)
except PrnError as error:
    raise WorkflowError(f"params.yaml (with presets): {error}") from None

use_this_python(workflow.basedir)
RUNS = {name: run for name, run in SETTINGS.benchmark.datasets.items() if run.categories and run.variants}
SEEDS = SETTINGS.benchmark.seeds
SIZE = SETTINGS.tensors.size
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
    dataset="|".join(sorted({*RUNS, "dtd"})),
    category="[^/]+",
    variant="[^/]+",
    seed=r"\d+",
    size=r"\d+",
    digest="[0-9a-f]{16}",
    backbone="[a-z0-9_]+",


@lru_cache(maxsize=None)
def stage_view(stage, dataset="", category="", variant=""):
    """The settings that a stage reads for a cell: the rule's parameter, and what the command line hands over."""
    return view(SETTINGS, stage, dataset, category, variant)


def settings_json(stage, dataset="", category="", variant=""):
    return json.dumps(stage_view(stage, dataset, category, variant), sort_keys=True, separators=(",", ":"))


def cell_settings(stage):
    """A function for `params:` that gives the stage's settings for the wildcards."""
    return lambda wildcards: settings_json(
        stage, wildcards.dataset, wildcards.get("category", ""), wildcards.get("variant", "")
    )


@lru_cache(maxsize=None)
def resolved(variant):
    return resolve_variant(SETTINGS, variant)


def method_of(variant):
    return resolved(variant).method


def needs(variant, what):
    """Whether a variant's training needs the backbone, the prototypes or the textures."""
    return METHODS[method_of(variant)].needs(what, resolved(variant))


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


def large(artefact):
    """A large input as two: the file itself, whose time stamp is ignored, and its digest file, which counts."""
    return [ancient(artefact), digest_file(artefact)]


# What a cache is made from counts beside it. A cache may go; but when a later job needs it again, Snakemake also plans
# the trainings that read it ("input files updated by another job", ancient or not): keep data/tensors for now.
TENSORS_CODE = code_digest("tensors")


def cached_tensors(dataset, category):
    """A category's cached images, whose time stamp is ignored, and the index (for textures the receipt) that decides."""
    source = layout.RECEIPT if dataset == layout.TEXTURES["dataset"] else layout.INDEX
    return [ancient(tensors_of(dataset, category)), source.format(dataset=dataset, category=category)]


def own_listing(wildcards):
    """What a user's own folder or CSV lists for a category: a changed listing makes a new index, and of no other one."""
    source = SETTINGS.download.sources.get(wildcards.dataset)
    return listing_digest(wildcards.dataset, source, wildcards.category)


@lru_cache(maxsize=None)
def own_textures():
    """What a user's own folder of textures lists."""
    dataset, category = layout.TEXTURES["dataset"], layout.TEXTURES["category"]
    return listing_digest(dataset, SETTINGS.download.sources.get(dataset), category)


def outputs(artefact):
    """What a stage writes for an artefact: the file, its digest and its provenance."""
    return [artefact, digest_file(artefact), sidecar(artefact)]


def metrics_of(cell):
    return layout.METRICS.format(**cell)


def tensors_of(dataset, category):
    return layout.TENSORS.format(dataset=dataset, category=category, size=SIZE)


def backbone_of(variant):
    return layout.BACKBONE.format(backbone=resolved(variant).model.backbone)


def tensors_source(wildcards):
    if wildcards.dataset == layout.TEXTURES["dataset"]:
        return layout.RECEIPT
    return layout.INDEX


def prototypes_of(cell):
    digest = prototype_digest_of(cell["variant"], int(cell["seed"]))
    return None if digest is None else layout.PROTOTYPES.format(**{**cell, "digest": digest})


def prototypes_inputs(wildcards):
    settings, seed = PROTOTYPES[wildcards.digest]
    backbone = layout.BACKBONE.format(backbone=json.loads(settings)["model"]["backbone"])
    return [
        layout.SPLIT.format(dataset=wildcards.dataset, category=wildcards.category, seed=seed),
        *cached_tensors(wildcards.dataset, wildcards.category),
        *large(backbone),
    ]


def train_inputs(wildcards):
    files = [
        layout.SPLIT.format(**wildcards),
        *cached_tensors(wildcards.dataset, wildcards.category),
    ]
    if needs(wildcards.variant, "backbone"):
        files += large(backbone_of(wildcards.variant))
    prototypes = prototypes_of(wildcards)
    if prototypes:
        files += large(prototypes)
    if needs(wildcards.variant, "textures"):
        files += cached_tensors(**layout.TEXTURES)
    return files
