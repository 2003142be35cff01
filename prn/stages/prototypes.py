"""Stage `prototypes`: k-means over the feature maps of the normal images, one file for all variants that agree."""

import time

import torch
from safetensors.torch import load_file

from prn import layout
from prn.backbone import Backbone
from prn.devices import compute_device
from prn.prototypes import cluster_prototypes
from prn.splits import load_split
from prn.stages.cache import category_tensors
from prn.stages.job import Job
from prn.stages.tensors import cached_tensors, sources


def run(job: Job) -> None:
    """Write the category's prototypes."""
    settings = job.settings
    split_path = job.needed(job.path(layout.SPLIT), "split")
    tensors_path = cached_tensors(job)
    weights_path = job.needed(layout.path(layout.BACKBONE, backbone=settings.model.backbone), "weights")
    split, tensors = load_split(split_path), category_tensors(job)
    device = compute_device()
    backbone = Backbone(settings.model.backbone, load_file(weights_path), train_layer4=False).to(device)
    torch.set_num_threads(1)  # sums in one order: the same bytes whatever the machine's core count
    started = time.monotonic()
    prototypes = cluster_prototypes(
        backbone,
        tensors.images[tensors.index_of(split.train_normal)],
        ratio=settings.prototypes.ratio,
        max_iterations=settings.prototypes.max_iterations,
        seed=job.seed,
        device=device,
    )
    path = job.prototypes()
    prototypes.save(path, settings.prototypes.precision)
    job.finish(
        path,
        [split_path, *sources(job), tensors_path, weights_path],
        seconds=time.monotonic() - started,
        stats=prototypes.stats,
    )
    print(f"{path}: {len(prototypes.maps[0])} prototypes of {len(split.train_normal)} normal images at three scales")
