"""The sha256 of a user's files, remembered, so that an untouched file costs one look at its dates.

A file is known by what every change of its bytes changes too: device, inode, size and the times of its last change
(`ctime`, which no copy and no `touch` can set back) and of its last writing. Where these are new, the file is read.
"""

import json
import time
from pathlib import Path

from prn.provenance.files import sha256_file, write_text

# Seconds for which a changed file is not remembered: within them it may be written once more under the same times.
FRESH_S = 2.0


class FileHashes:
    """Hashes of files, kept in `store` where `save` is called; nothing else is written."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.read = 0  # files that had to be read
        self._known = _stored(store)
        self._used: dict[str, str] = {}

    def sha256(self, path: Path) -> str:
        """Hex sha256 of a file's bytes. Raises `OSError` where it cannot be read."""
        state = _state(path)
        digest = self._known.get(state)
        if digest is None:
            digest = sha256_file(path)
            self.read += 1
            if _state(path) != state or time.time() - path.stat().st_ctime < FRESH_S:
                return digest
        self._known[state] = self._used[state] = digest
        return digest

    def save(self) -> None:
        """Write down the hashes that were asked for."""
        write_text(self.store, json.dumps(self._used, indent=0, sort_keys=True) + "\n")


def _stored(store: Path) -> dict[str, str]:
    """What was written down; nothing where that is not readable."""
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _state(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
