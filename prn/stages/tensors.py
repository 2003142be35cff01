"""Stage `tensors`: a category's images and masks at the working size, decoded once; a cache."""

from prn.stages.caches import make
from prn.stages.job import Job


def run(job: Job) -> None:
    """Write the category's tensors, or the textures' when the cell is theirs, anew."""
    make(job, anew=True)
