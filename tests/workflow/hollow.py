"""Stages without work, for tests of the tools around them: each writes small files that depend on what it was given.

`hollow_out(project)` lays them over a copy of the project. The files keep their names, digests and provenance; a job
takes a fraction of a second, since no stage loads torch. A job waits while a file `hold-<stage>` lies in the work
folder (its process id stands in `held-<stage>`), and fails where a file `fail-<stage>` does.
"""

from pathlib import Path

STAGES = ("download", "index", "weights", "split", "prototypes", "train", "predict", "evaluate", "report")

SOURCE = '''
"""What every hollow stage does."""

import base64
import hashlib
import json
import os
import time
from pathlib import Path

from prn import layout
from prn.provenance.files import atomic_write
from prn.settings.sections import Settings
from prn.errors import PrnError
from prn.settings.methods import METHODS
from prn.provenance.files import write_text
from prn.provenance.sidecars import artefact_hash
from prn.stages.job import Job
from prn.stages.names import STAGES
from prn.settings.validation import validated

PAGES = []  # those of the report, set by its stage


PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def make(job):
    """Write the files of the job's stage."""
    control = f"{job.stage}-{job.variant}" if job.variant else job.stage
    if Path(f"hold-{control}").exists():
        Path(f"held-{control}").write_text(str(os.getpid()))
        while Path(f"hold-{control}").exists():
            time.sleep(0.05)
    if Path(f"fail-{control}").exists():
        raise PrnError(f"{control}: told to fail")
    inputs = globals()[f"_{job.stage}"](job)
    beside = [job.path(pattern) for pattern in STAGES[job.stage].beside]
    beside += PAGES if job.stage == "report" else []
    own = {"index": job, "train": Job("tensors", {}, **layout.TEXTURES, execution=job.execution)}.get(job.stage)
    reads = own is not None and (job.stage == "index" or METHODS[job.view["method"]].textures)
    listing = own.listing() if reads else ""
    facts = [job.view, {str(path): artefact_hash(path) for path in inputs}, listing]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    size = int(os.environ.get("HOLLOW_BYTES", "0")) if job.stage == "train" else 0
    with atomic_write(job.artefact) as temporary, temporary.open("w") as file:
        file.write(_text(job, digest))
        file.write("x" * size)
    for path in beside:
        write_text(path, digest)
    job.finish(inputs, listing=listing)


def _text(job, digest):
    if job.stage == "download":
        return json.dumps({"archives": {}, "facts": digest})
    if job.stage == "report":
        return _rows()
    if job.stage != "evaluate":
        return digest
    score = int(digest[:4], 16) / 0xFFFF
    return json.dumps({**{m: score for m in ("image_auroc", "pixel_auroc", "pro", "ap")}, "facts": digest})


def _download(job):
    write_text(f"data/archives/{job.dataset}/part.tar", job.dataset)
    return []


def _index(job):
    return [job.path(layout.RECEIPT)]


def _split(job):
    return [job.path(layout.INDEX)]


def _weights(job):
    return []


def _prototypes(job):
    return [job.path(layout.SPLIT), job.path(layout.INDEX), job.path(layout.BACKBONE)]


def _train(job):
    entry = METHODS[job.view["method"]]
    inputs = [job.path(layout.SPLIT), job.path(layout.INDEX)]
    if entry.backbone:
        inputs.append(job.path(layout.BACKBONE))
    if entry.prototypes and "prototypes" in job.view:
        inputs.append(job.path(layout.PROTOTYPES))
    if entry.textures:
        inputs.append(layout.path(layout.RECEIPT, **layout.TEXTURES))
    with Path("trained").open("a") as file:
        print(job.label, file=file)
    return inputs


def _predict(job):
    return [job.path(layout.CHECKPOINT), job.path(layout.SPLIT), job.path(layout.INDEX)]


def _evaluate(job):
    return [job.path(layout.PREDICTIONS), job.path(layout.CHECKPOINT), job.path(layout.SPLIT), job.path(layout.INDEX)]


def _rows():
    rows = [["dataset", "category", "variant", "seed", "metric", "value"]]
    for file in sorted(Path("data/metrics").glob("*/*/*/seed*.json")):
        if not file.name.endswith(".prov.json"):
            values = json.loads(file.read_text())
            rows += [[*file.parts[2:5], file.stem[4:], name, f"{100 * values[name]:.3f}"] for name in list(values)[:4]]
    return "\\n".join(",".join(map(str, row)) for row in rows) + "\\n"


def _report(job):
    settings = validated(Settings, job.view)
    for file in Path("data/metrics").glob("*/*/*/seed*[0-9].json"):
        values = {name: 100 * value for name, value in list(json.loads(file.read_text()).items())[:4]}
        dataset, category, variant = file.parts[2:5]
        write_text(f"reports/metrics/{variant}.json", json.dumps({dataset: values}))
        table = [["category", *values], [f"{dataset} {category}", *map(str, values.values())]]
        write_text(f"reports/plots/{variant}.csv", "\\n".join(map(",".join, table)) + "\\n")
    picture = Path("reports/figures/mine/part.png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(base64.b64decode(PICTURE))
    files = sorted(Path("data/metrics").glob("*/*/*/seed*.json"))
    runs = [name for name, run in settings.benchmark.datasets.items() if run.categories and run.variants]
    PAGES[:] = [path for path in layout.report_pages(runs) if path != layout.RESULTS]
    return [file for file in files if not file.name.endswith(".prov.json")]
'''
SOURCE = SOURCE.strip() + "\n"


def hollow_out(project: Path) -> None:
    """Put hollow stages in place of a copied project's own."""
    stages = project / "prn" / "stages"
    (stages / "hollow.py").write_text(SOURCE, encoding="utf-8")
    for stage in STAGES:
        text = f'"""Hollow `{stage}`."""\n\nfrom prn.stages.hollow import make as run\n\n__all__ = ["run"]\n'
        (stages / f"{stage}.py").write_text(text, encoding="utf-8")
