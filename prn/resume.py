"""A training that stops and goes on: its saved state, the lock that keeps a second one out, and SIGTERM."""

import contextlib
import datetime
import hashlib
import json
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from prn.errors import PrnError
from prn.layout import settings_digest
from prn.provenance.files import atomic_write, sha256_file

SEAL_BYTES = 65  # the first line: the sha256 of what follows, in hex
# What a state holds besides its key.
FIELDS: dict[str, type] = {
    "next_step": int,
    "seconds": float,
    "rows": list,
    "state": dict,
    "optimizer": dict,
    "generator": torch.Tensor,
}


class Interrupted(PrnError):
    """A training was told to stop (SIGTERM) and its state is saved; starting it again continues (exit code 143)."""

    exit_code = 143


def run_key(
    settings: Mapping[str, Any], code: str, cell: Mapping[str, str | int], files: Mapping[str, Path]
) -> dict[str, str]:
    """What a training's result follows from, by name: a saved state that differs in one of them is not gone on with.

    settings: the stage's view; code: the digest of the stage's code with its method's; cell: data set, category,
    variant and seed; files: all that the training reads, each of which is hashed here.
    """
    named = {name: str(value) for name, value in cell.items()}
    hashes = {name: sha256_file(path) for name, path in files.items()}
    return {"settings": settings_digest(settings), "code": code, **named, **hashes}


@dataclass(frozen=True)
class ResumeFile:
    """Where a training saves its state, and what the state belongs to (see `run_key`).

    The file's first line is the sha256 of the rest, which is what `torch.save` writes. The state saved before stays as
    the file `previous` beside it.
    """

    path: Path
    key: Mapping[str, str]

    @property
    def previous(self) -> Path:
        """The state saved before the newest."""
        return self.path.with_suffix(".previous.pt")

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state with the entries of `FIELDS`; a reader, or a run after a kill, sees it whole or not at all."""
        self._remove_parts()
        with atomic_write(self.path) as temporary:
            with temporary.open("w+b") as file:
                file.write(bytes(SEAL_BYTES))
                torch.save({"key": dict(self.key), **state}, file)
                seal = _seal(file)
                file.seek(0)
                file.write(seal)
            if self.path.exists():
                self.path.replace(self.previous)

    def load(self, label: str, progress: Callable[[str], None]) -> dict[str, Any] | None:
        """The newest whole state of this very training, None where there is none.

        Says in one line what was not used and why.
        """
        refused = []
        for path in (self.path, self.previous):
            if not path.is_file():
                continue
            saved, reason = self._read(path)
            if saved is None:
                refused.append(f"{path.name} {reason}")
                continue
            if refused:
                progress(f"{label}: {'; '.join(refused)}; it is not used")
            if path != self.path:
                path.replace(self.path)  # else the next save would put the refused file in its place
            return saved
        if refused:
            progress(f"{label}: {'; '.join(refused)}; starting from step 0")
        return None

    def clear(self) -> None:
        """Remove the states of a training whose results are written."""
        self.path.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)
        self._remove_parts()

    def _read(self, path: Path) -> tuple[dict[str, Any] | None, str]:
        """The state of a file, or why it is not to be used."""
        try:
            with path.open("rb") as file:
                if file.read(SEAL_BYTES) != _seal(file):
                    return None, "cannot be read (its bytes are not those that were saved)"
                file.seek(SEAL_BYTES)
                saved = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever torch raises for bytes that are no state
            return None, f"cannot be read ({type(error).__name__})"
        if not isinstance(saved, dict) or not isinstance(saved.get("key"), dict):
            return None, "cannot be read (it holds no training's state)"
        if lacking := [name for name, kind in FIELDS.items() if not isinstance(saved.get(name), kind)]:
            return None, f"cannot be read (it has no {lacking[0]})"
        names = [name for name in {**self.key, **saved["key"]} if saved["key"].get(name) != self.key.get(name)]
        return (None, f"belongs to other {', '.join(names)}") if names else (saved, "")

    def _remove_parts(self) -> None:
        """Remove what a save left that was killed."""
        for part in self.path.parent.glob(f".{self.path.name}.*.part"):
            part.unlink(missing_ok=True)


def _seal(file: BufferedReader | BufferedRandom) -> bytes:
    """The first line of a state's file, from all that follows it."""
    file.seek(SEAL_BYTES)
    return hashlib.file_digest(file, "sha256").hexdigest().encode() + b"\n"


@contextlib.contextmanager
def alone(lock_file: Path, label: str) -> Iterator[None]:
    """Hold a training's lock for the time of the block; the system releases it also when the process is killed.

    Raises `PrnError`, which says who holds it, where another process does. It does not wait: what would follow is the
    same training a second time.
    """
    holder = lock_file.with_suffix(".holder.json")
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_file)
        lock.acquire(timeout=0)
    except Timeout:
        raise PrnError(
            f"{label}: {_who(holder)} trains it already ({lock_file}); wait until that has ended, or stop it"
        ) from None
    except OSError as error:
        raise PrnError(f"{lock_file}: the lock of a training cannot be taken ({error.strerror})") from error
    try:
        since = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        facts = {"process": os.getpid(), "host": platform.node(), "since": since}
        with contextlib.suppress(OSError):  # the lock holds without it
            holder.write_text(json.dumps(facts), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    try:
        facts = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {facts['process']} on {facts['host']} (since {facts['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def interruptible(what: str) -> contextlib.AbstractContextManager[None]:
    """SIGTERM in this block raises `Interrupted` at once: for work that leaves nothing half done."""

    def stop() -> None:
        raise Interrupted(f"{what}; start again to continue")

    return on_sigterm(stop)


@contextlib.contextmanager
def on_sigterm(action: Callable[[], None]) -> Iterator[None]:
    """Do `action` on SIGTERM in this block; outside the main thread no handler can be set."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
