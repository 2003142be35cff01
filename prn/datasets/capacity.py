"""Disk and memory, asked for before the work starts instead of found wanting in its middle."""

import shutil
from pathlib import Path

from prn.errors import PrnError

MARGIN = 64 * 2**20  # bytes that stay free on the disk


def free_disk(folder: Path) -> int:
    """Bytes free on the file system that `folder` (or its nearest existing parent) lies on."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def check_disk(folder: Path, needed: int, what: str) -> None:
    """PrnError before any work where `needed` bytes (and a margin) are more than the disk has free."""
    free = free_disk(folder)
    if needed + MARGIN > free:
        raise PrnError(
            f"{folder}: {what} needs {needed / 2**30:.2f} GiB of disk, {free / 2**30:.2f} GiB are free; "
            "free some space or name another folder"
        )


def free_memory() -> int | None:
    """Bytes of memory that can be had without swapping; None where the system does not say."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None


def check_memory(needed: int, what: str) -> None:
    """PrnError before any work where `needed` bytes are more than the memory that is free."""
    free = free_memory()
    if free is not None and needed > free:
        raise PrnError(
            f"{what} need {needed / 2**30:.2f} GiB of memory, {free / 2**30:.2f} GiB are free; "
            "lower the working size or free memory"
        )
