"""Where each artefact lies below the work folder: the one place that knows, for the stages and for the workflow alike.

The patterns are Snakemake's wildcards; `path(pattern, ...)` fills them in.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ARCHIVES = "data/archives"
TREE = "data/datasets/{dataset}"
RECEIPT = "data/receipts/{dataset}.json"
INDEX = "data/index/{dataset}/{category}.csv"
SPLIT = "data/splits/{dataset}/{category}/seed{seed}.json"
TENSORS = "data/tensors/{dataset}/{category}/{size}.safetensors"
WEIGHTS_FOLDER = "data/weights"
# Hashes of users' own files, remembered: images of a category, archives of a data set, weights of an encoder.
HASHES = "data/hashes/{dataset}/{category}.json"
ARCHIVE_HASHES = "data/hashes/{dataset}.archives.json"
WEIGHTS_HASHES = "data/hashes/{backbone}.weights.json"
BACKBONE = "data/backbones/{backbone}.safetensors"
PROTOTYPES = "data/prototypes/{dataset}/{category}/{digest}.safetensors"
CHECKPOINT = "data/checkpoints/{dataset}/{category}/{variant}/seed{seed}.safetensors"
TRAINING_LOG = "data/checkpoints/{dataset}/{category}/{variant}/seed{seed}.log.csv"
RUN_CARD = "data/checkpoints/{dataset}/{category}/{variant}/seed{seed}.card.json"
RESUME = "data/checkpoints/{dataset}/{category}/{variant}/seed{seed}.resume.pt"
TRAINING_LOCK = "data/locks/train/{dataset}/{category}/{variant}/seed{seed}.lock"
SYNTHESIS = "data/synthesis/{dataset}/{category}/{variant}"
PREDICTIONS = "data/predictions/{dataset}/{category}/{variant}/seed{seed}.npz"
TIMING = "data/predictions/{dataset}/{category}/{variant}/seed{seed}.timing.json"
METRICS = "data/metrics/{dataset}/{category}/{variant}/seed{seed}.json"
RESULTS = "reports/results.csv"
PAGES = ("README", "paper_tables", "delta_to_paper", "ablations", "deviations", "cost", "failures", "data_card", "runs")

# The textures of the heterologous anomalies are indexed and cached like a category of the data set `dtd`.
TEXTURES = {"dataset": "dtd", "category": "textures"}


def path(pattern: str, **wildcards: Any) -> Path:
    """`pattern` with its wildcards filled in."""
    return Path(pattern.format(**wildcards))


def report_pages(datasets: Iterable[str]) -> list[str]:
    """The files of a report that always exist: the results, and a page for each subject and data set."""
    return [RESULTS, "reports/report.html", *(f"reports/{name}.md" for name in (*PAGES, *datasets))]


def log_of(stage: str, *names: str) -> str:
    """The log of a stage's job, by the names of the cell that tell its jobs apart."""
    return f"data/logs/{stage}/{'.'.join('seed{seed}' if name == 'seed' else f'{{{name}}}' for name in names)}.log"


def digest_file(artefact: str) -> str:
    """The small file with the sha256 of a large artefact; it stands for the artefact as a workflow input."""
    return f"{artefact}.sha256"


def sidecar(artefact: str) -> str:
    """The provenance of an artefact."""
    return f"{artefact}.prov.json"


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Sixteen hex digits over settings in canonical JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def prototype_digest(key: Mapping[str, Any], seed: int) -> str:
    """The name of a prototypes file: what it depends on besides its category's images."""
    return settings_digest({"settings": key, "seed": seed})
