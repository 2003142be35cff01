"""Images at the working size, decoded once: caches of a category and of the textures, made by whoever needs them.

The workflow need not know of the files, and their absence reruns nothing.
"""

import json
from pathlib import Path

from prn import layout
from prn.datasets.capacity import check_disk
from prn.datasets.download import hold
from prn.datasets.dtd import texture_files
from prn.datasets.images import (
    CategoryTensors,
    build_tensors,
    category_bytes,
    source_digest,
    texture_bytes,
    texture_tensors,
)
from prn.datasets.rows import read_index
from prn.errors import DataCorrupt
from prn.provenance.sidecars import artefact_hash
from prn.settings.views import view_of_tensors
from prn.stages.job import Job
from prn.stages.tree import tree_root

TEXTURES_HINT = (
    "; textures are DTD's, or those of another folder of images that `download.sources.dtd` names;"
    " `synthesis.heterologous: false` does without"
)


def images_cache(job: Job) -> Job:
    """The stage `tensors` of a job's category, its cache made now where it is not current."""
    return _current_cache(job, job.dataset, job.category)


def textures_cache(job: Job) -> Job:
    """The stage `tensors` of the textures at a job's working size, its cache made now where it is not current."""
    return _current_cache(job, **layout.TEXTURES)


def make(cache: Job, anew: bool = False) -> None:
    """Make a cache where it is not current, or `anew`; of several processes one does, the others wait."""
    if not anew and is_current(cache):
        return
    path = cache.artefact
    with hold(path.with_name(f".{path.name}.lock"), str(path)):
        if anew or not is_current(cache):
            (_make_textures if holds_textures(cache) else _make_images)(cache)


def is_current(cache: Job) -> bool:
    """Whether the cache is there and was made from today's source, settings and code.

    Where the source is not (a machine that only trains), a cache that is there is taken as it is.
    """
    source = source_of(cache)
    if not source.is_file():
        cache.needed(layout.TENSORS, TEXTURES_HINT if holds_textures(cache) else "")
        return True
    try:
        provenance = json.loads(Path(layout.sidecar(str(cache.artefact))).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (
        cache.artefact.is_file()
        and provenance.get("settings_digest") == layout.settings_digest(cache.view)
        and provenance.get("code") == cache.code()
        and provenance.get("inputs") == {source.as_posix(): artefact_hash(source)}
        and provenance.get("listing", "") == (textures_listing(cache) if holds_textures(cache) else "")
    )


def load_images(cache: Job) -> CategoryTensors:
    """The images of a category's cache.

    Errors: DataMissing, DataCorrupt (damaged, or made from other images than the index names; without an index, as on
    a machine that only trains, that is not checked).
    """
    path, index = cache.artefact, cache.path(layout.INDEX)
    tensors = CategoryTensors.load(path)
    if index.is_file() and tensors.source != source_digest(read_index(index), tensors.size):
        raise DataCorrupt(f"{path}: not made from the images in {index}; delete it and run the stage tensors again")
    return tensors


def source_of(cache: Job) -> Path:
    """What decides about the cache: the category's index, for the textures the receipt of their download."""
    return cache.path(layout.RECEIPT if holds_textures(cache) else layout.INDEX)


def textures_listing(cache: Job) -> str:
    """What the user's own folder of textures lists, which their receipt does not hold; '' where that is not here."""
    return cache.listing() if source_of(cache).is_file() else ""


def holds_textures(cache: Job) -> bool:
    """Whether the cache is that of the textures."""
    return {"dataset": cache.dataset, "category": cache.category} == layout.TEXTURES


def _current_cache(job: Job, dataset: str, category: str) -> Job:
    cache = Job("tensors", view_of_tensors(job.view), dataset, category, execution=job.execution, options=job.options)
    make(cache)
    return cache


def _make_images(cache: Job) -> None:
    index = cache.needed(layout.INDEX)
    path, size = cache.artefact, cache.settings.tensors.size
    rows = read_index(index)
    check_disk(path.parent, category_bytes(len(rows), size), f"{len(rows)} images of {size}x{size}")
    tensors = build_tensors(rows, tree_root(cache), size)
    tensors.save(path)
    lost = tensors.lost_regions
    cache.finish([index], lost_regions=int(lost.sum()), masks_with_lost_regions=int((lost > 0).sum()))
    print(f"{path}: {len(tensors.images)} images at {size}x{size}, {lost.sum()} regions kept by one pixel")


def _make_textures(cache: Job) -> None:
    root, path, size = tree_root(cache), cache.artefact, cache.settings.tensors.size
    count = len(texture_files(root))
    check_disk(path.parent, texture_bytes(count, size), f"{count} textures of {size}x{size}")
    texture_tensors(root, size).save(path)
    cache.finish([cache.path(layout.RECEIPT)], listing=textures_listing(cache))
    print(f"{path}: {count} textures at {size}x{size}")
