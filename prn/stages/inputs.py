"""All that a job reads, fetched once: the split, the cached images, the textures and the frozen parts."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from prn import layout
from prn.datasets.images import CategoryTensors, load_textures
from prn.fitting import FitInputs
from prn.prototypes import Prototypes
from prn.resume import ResumeFile
from prn.splits import Split, load_split
from prn.stages.caches import images_cache, load_images, source_of, textures_cache, textures_listing
from prn.stages.job import Job


@dataclass(frozen=True)
class Inputs:
    """What a job reads: the split, the category's images, and of the rest what was asked for.

    files: by name, in the order of the provenance. sources: what the caches were made from, as far as it is here.
    listing: what the user's own folder of textures lists, '' where none were asked for or they come from archives.
    """

    split: Split
    tensors: CategoryTensors
    files: dict[str, Path]
    sources: list[Path] = field(default_factory=list)
    textures: np.ndarray | None = None
    backbone: Mapping[str, torch.Tensor] | None = None
    prototypes: Prototypes | None = None
    listing: str = ""

    @property
    def normals(self) -> np.ndarray:
        """The normal training images, N x S x S x 3 uint8."""
        return self.tensors.images[self.tensors.index_of(self.split.train_normal)]

    @property
    def seen(self) -> np.ndarray:
        """The positions of the seen anomalies in `tensors`, in the split's order."""
        return self.tensors.index_of(self.split.seen)

    @property
    def test(self) -> np.ndarray:
        """The positions of the test images in `tensors`."""
        return self.tensors.index_of(self.split.test)


def inputs_of(job: Job, also: Collection[str] = ()) -> Inputs:
    """What `job` reads; `also` names what it needs beside split and images: backbone, prototypes, textures.

    Caches are made where they are not current. Raises `DataMissing` with the command that makes what is not there,
    `DataCorrupt` for a file that is not what it must be.
    """
    split, cache = job.needed(layout.SPLIT), images_cache(job)
    files, sources = {"split": split, "tensors": cache.artefact}, [source_of(cache)]
    if "backbone" in also:
        files["backbone"] = job.needed(layout.BACKBONE)
    if "prototypes" in also:
        files["prototypes"] = job.needed(layout.PROTOTYPES)
    listing = ""
    if "textures" in also:
        textures = textures_cache(job)
        files["textures"], listing = textures.artefact, textures_listing(textures)
        sources.append(source_of(textures))
    return Inputs(
        split=load_split(split),
        tensors=load_images(cache),
        files=files,
        sources=[path for path in sources if path.is_file()],
        textures=load_textures(files["textures"]) if "textures" in files else None,
        backbone=load_file(files["backbone"]) if "backbone" in files else None,
        prototypes=Prototypes.load(files["prototypes"]) if "prototypes" in files else None,
        listing=listing,
    )


def fit_inputs(job: Job, inputs: Inputs, resume: ResumeFile | None = None) -> FitInputs:
    """The training side of the split: nothing of the test images is in it."""
    return FitInputs(
        dataset=job.dataset,
        category=job.category,
        seed=job.seed,
        normals=inputs.normals,
        seen=inputs.tensors.images[inputs.seen],
        seen_masks=inputs.tensors.masks[inputs.seen],
        textures=inputs.textures,
        resume=resume,
    )
