"""What a job of the workflow runs on: the GPUs of this machine, and the Python that its commands start."""

import os
import sys
from pathlib import Path


def gpu_count() -> int:
    """NVIDIA GPUs that this machine shows, without loading torch."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def use_this_python(project: str | os.PathLike[str]) -> None:
    """Let `python -m prn` in the children of this process mean this Python and the code in the folder `project`.

    A conda environment that Snakemake makes for a rule still comes first.
    """
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.fspath(project), os.environ.get("PYTHONPATH")]))
