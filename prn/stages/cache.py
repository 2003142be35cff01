"""The cached images of a cell, refused where they are not those of its index."""

from prn import layout
from prn.datasets.images import CategoryTensors, source_digest
from prn.datasets.rows import read_index
from prn.errors import DataCorrupt
from prn.stages.job import Job
from prn.stages.tensors import cached_tensors


def category_tensors(job: Job) -> CategoryTensors:
    """The job's images at the working size.

    The cache is made where it is not current. Errors: DataMissing (neither cache nor index), DataCorrupt (damaged, or
    made from other images than the index names; without an index, as on a machine that only trains, that is not
    checked).
    """
    path, index = cached_tensors(job), job.path(layout.INDEX)
    tensors = CategoryTensors.load(path)
    if index.is_file() and tensors.source != source_digest(read_index(index), tensors.size):
        raise DataCorrupt(f"{path}: not made from the images in {index}; delete it and run the stage tensors again")
    return tensors
