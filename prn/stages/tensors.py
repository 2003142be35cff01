"""Stage `tensors`: a category's images and masks at the working size, decoded once; a cache."""

from prn import layout
from prn.datasets.capacity import check_disk
from prn.datasets.images import build_tensors, category_bytes, texture_bytes, texture_files, texture_tensors
from prn.datasets.rows import read_index
from prn.stages.job import Job
from prn.stages.tree import tree_root


def run(job: Job) -> None:
    """Write the category's tensors, or the textures' when the cell is theirs."""
    if {"dataset": job.dataset, "category": job.category} == layout.TEXTURES:
        _textures(job)
        return
    index = job.needed(job.path(layout.INDEX), "index")
    size = job.settings.tensors.size
    rows, path = read_index(index), job.tensors()
    check_disk(path.parent, category_bytes(len(rows), size), f"{len(rows)} images of {size}x{size}")
    tensors = build_tensors(rows, tree_root(job), size)
    tensors.save(path)
    lost = tensors.lost_regions
    job.finish(path, [index], lost_regions=int(lost.sum()), masks_with_lost_regions=int((lost > 0).sum()))
    print(f"{path}: {len(tensors.images)} images at {size}x{size}, {lost.sum()} regions kept by one pixel")


def _textures(job: Job) -> None:
    receipt = job.needed(job.path(layout.RECEIPT), "download")
    size = job.settings.tensors.size
    root, path = tree_root(job), job.textures()
    count = len(texture_files(root))
    check_disk(path.parent, texture_bytes(count, size), f"{count} textures of {size}x{size}")
    texture_tensors(root, size).save(path)
    job.finish(path, [receipt])
    print(f"{path}: {count} textures at {size}x{size}")
