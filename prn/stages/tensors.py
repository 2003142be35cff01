"""Stage `tensors`: a category's images and masks at the working size, decoded once; a cache.

Whoever needs the cache makes it: a stage that reads tensors calls `cached_tensors`, so that the workflow need not know
of the file, and its absence reruns nothing.
"""

import json
from pathlib import Path

from prn import layout
from prn.datasets.capacity import check_disk
from prn.datasets.download import hold
from prn.datasets.dtd import texture_files
from prn.datasets.images import build_tensors, category_bytes, texture_bytes, texture_tensors
from prn.datasets.rows import read_index
from prn.provenance import artefact_hash
from prn.stages.job import Job
from prn.stages.tree import tree_root
from prn.views import view_of_tensors

TEXTURES_HINT = (
    "; textures are DTD's, or those of another folder of images that `download.sources.dtd` names;"
    " `synthesis.heterologous: false` does without"
)


def run(job: Job) -> None:
    """Write the category's tensors, or the textures' when the cell is theirs, anew."""
    _ensure(job, anew=True)


def cached_tensors(job: Job) -> Path:
    """The tensors of a job's category, made now where they are absent or were made from something else."""
    return _cached(job, job.dataset, job.category)


def cached_textures(job: Job) -> Path:
    """The textures at a job's working size, made now where they are absent or were made from something else."""
    return _cached(job, **layout.TEXTURES)


def _cached(job: Job, dataset: str, category: str) -> Path:
    cache = Job("tensors", view_of_tensors(job.view), dataset, category)
    _ensure(cache)
    return cache.tensors()


def _ensure(job: Job, anew: bool = False) -> None:
    """Make the cache where it is not current, or `anew`; of several processes one does, the others wait."""
    if not anew and _current(job):
        return
    path = job.tensors()
    with hold(path.with_name(f".{path.name}.lock"), str(path)):
        if not anew and _current(job):
            return
        if _is_textures(job):
            _make_textures(job)
        else:
            _make(job)


def _current(job: Job) -> bool:
    """Whether the cache is there and was made from today's source, settings and code.

    Where the source is not (a machine that only trains), a cache that is there is taken as it is.
    """
    path, source = job.tensors(), _source(job)
    if not source.is_file():
        job.needed(path, "tensors", TEXTURES_HINT if _is_textures(job) else "")
        return True
    try:
        provenance = json.loads(Path(layout.sidecar(str(path))).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (
        path.is_file()
        and provenance.get("settings_digest") == layout.settings_digest(job.view)
        and provenance.get("code") == job.code()
        and provenance.get("inputs") == {source.as_posix(): artefact_hash(source)}
        and provenance.get("listing", "") == (textures_listing(job) if _is_textures(job) else "")
    )


def textures_listing(job: Job) -> str:
    """What the user's own folder of textures lists, which their receipt does not hold; '' where that is not here."""
    receipt = layout.path(layout.RECEIPT, **layout.TEXTURES)
    return job.listing(**layout.TEXTURES) if receipt.is_file() else ""


def sources(job: Job, textures: bool = False) -> list[Path]:
    """What the caches that a job reads were made from, as far as it is here: its provenance holds them."""
    index, receipt = job.path(layout.INDEX), layout.path(layout.RECEIPT, **layout.TEXTURES)
    return [path for path in (index, *([receipt] if textures else [])) if path.is_file()]


def _source(job: Job) -> Path:
    """What decides about the cache: the category's index, for the textures the receipt of their download."""
    return job.path(layout.RECEIPT if _is_textures(job) else layout.INDEX)


def _is_textures(job: Job) -> bool:
    return {"dataset": job.dataset, "category": job.category} == layout.TEXTURES


def _make(job: Job) -> None:
    index = job.needed(job.path(layout.INDEX), "index")
    path, size = job.tensors(), job.settings.tensors.size
    rows = read_index(index)
    check_disk(path.parent, category_bytes(len(rows), size), f"{len(rows)} images of {size}x{size}")
    tensors = build_tensors(rows, tree_root(job), size)
    tensors.save(path)
    lost = tensors.lost_regions
    job.finish(path, [index], lost_regions=int(lost.sum()), masks_with_lost_regions=int((lost > 0).sum()))
    print(f"{path}: {len(tensors.images)} images at {size}x{size}, {lost.sum()} regions kept by one pixel")


def _make_textures(job: Job) -> None:
    root, path, size = tree_root(job), job.tensors(), job.settings.tensors.size
    count = len(texture_files(root))
    check_disk(path.parent, texture_bytes(count, size), f"{count} textures of {size}x{size}")
    texture_tensors(root, size).save(path)
    job.finish(path, [job.path(layout.RECEIPT)], listing=textures_listing(job))
    print(f"{path}: {count} textures at {size}x{size}")
