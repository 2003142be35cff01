"""Stage `prototypes`: k-means over the feature maps of the normal images, one file for all variants that agree."""

import time

import torch

from prn.backbone import Backbone
from prn.devices import torch_device
from prn.prototypes import cluster_prototypes
from prn.stages.inputs import inputs_of
from prn.stages.job import Job


def run(job: Job) -> None:
    """Write the category's prototypes."""
    settings, inputs, device = job.settings, inputs_of(job, also=["backbone"]), torch_device()
    backbone = Backbone(settings.model.backbone, inputs.backbone, train_layer4=False).to(device)
    torch.set_num_threads(1)  # sums in one order: the same bytes whatever the machine's core count
    started = time.monotonic()
    prototypes = cluster_prototypes(
        backbone,
        inputs.normals,
        ratio=settings.prototypes.ratio,
        max_iterations=settings.prototypes.max_iterations,
        seed=job.seed,
        device=device,
    )
    prototypes.save(job.artefact, settings.prototypes.precision)
    files = [inputs.files["split"], *inputs.sources, inputs.files["tensors"], inputs.files["backbone"]]
    job.finish(files, seconds=time.monotonic() - started, stats=prototypes.stats)
    count = len(prototypes.maps[0])
    print(f"{job.artefact}: {count} prototypes of {len(inputs.split.train_normal)} normal images at three scales")
