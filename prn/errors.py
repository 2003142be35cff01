"""Errors that are a user's to mend: one clear line, no traceback, a documented exit code."""


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
