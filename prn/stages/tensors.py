"""Stage `tensors`: a category's images and masks at the working size, decoded once; a cache."""

import os

from prn import layout
from prn.datasets.images import build_tensors, load_textures, save_textures, texture_tensors
from prn.datasets.index import read_index
from prn.stages.index import tree_root
from prn.stages.job import Job


def run(job: Job) -> None:
    """Write the category's tensors, or the textures' when the cell is theirs."""
    if {"dataset": job.dataset, "category": job.category} == layout.TEXTURES:
        _textures(job)
        return
    index = job.needed(job.path(layout.INDEX), "index")
    size = job.settings.tensors.size
    root = tree_root(job)
    base = root.parent if root.is_file() else root
    tensors = build_tensors(read_index(index), base, size, len(os.sched_getaffinity(0)))
    path = job.tensors()
    tensors.save(path)
    job.finish(path, [index], lost_regions=int(tensors.lost_regions.sum()))
    print(
        f"{path}: {len(tensors.images)} images at {size}x{size}, {tensors.lost_regions.sum()} regions kept by one pixel"
    )


def _textures(job: Job) -> None:
    receipt = job.needed(job.path(layout.RECEIPT), "download")
    size = job.settings.tensors.size
    path = job.textures()
    save_textures(texture_tensors(tree_root(job), size, len(os.sched_getaffinity(0))), path)
    job.finish(path, [receipt])
    print(f"{path}: {len(load_textures(path))} textures at {size}x{size}")
