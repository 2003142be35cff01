"""Errors that are a user's to mend: one clear line, no traceback, a documented exit code."""

from collections.abc import Iterator
from contextlib import contextmanager


class PrnError(Exception):
    """A run failed for a reason that the message explains (exit code 1)."""

    exit_code = 1


class SettingsError(PrnError):
    """Wrong usage or wrong settings (exit code 2)."""

    exit_code = 2


class DataMissing(PrnError):
    """A file or data set that is needed is not there (exit code 3)."""

    exit_code = 3


class DataCorrupt(PrnError):
    """A file is there but is not what it must be (exit code 4)."""

    exit_code = 4


@contextmanager
def memory_errors(what: str, key: str) -> Iterator[None]:
    """A device that runs out of memory in here becomes a `PrnError` that names the setting to lower."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; a CPU allocator raises a plain one
        text = str(error)
        if type(error).__name__ != "OutOfMemoryError" and "not enough memory" not in text:
            raise
        raise PrnError(f"{what}: out of memory; lower `{key}` ({text.splitlines()[0]})") from error
