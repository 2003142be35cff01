"""Tool `describe`: the network block by block with shapes, parameters and GMAC; needs no weights and no data."""

from prn.model.describe import as_text, describe
from prn.stages.job import Job


def run(job: Job) -> None:
    """Print the network of a variant at the settings' working size."""
    settings = job.settings
    size = settings.tensors.size
    print(f"{job.variant}: PRN with {settings.model.backbone} for images of {size} x {size}\n")
    print(as_text(describe(settings.model, (size, size))))
