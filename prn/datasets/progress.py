"""How far long work is: a bar on a terminal, a plain line now and then in a log file."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
LOG_SECONDS = 30.0


@contextlib.contextmanager
def progress_bar(
    what: str, total: int | None, unit: str, *, initial: int = 0, enabled: bool = True
) -> Iterator[Callable[[int], object]]:
    """A function to be called with the number of units (`B` for bytes) just done; under 30 s a log stays empty."""
    if not enabled:
        yield lambda _: None
    elif sys.stderr.isatty():
        with tqdm(total=total, initial=initial, unit=unit, unit_scale=unit == "B", desc=what) as bar:
            yield bar.update
    else:
        yield _lines(what, total, unit, initial)


def tracked(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """The items, with a progress bar over them."""
    with progress_bar(what, total, "images") as done:
        for item in items:
            yield item
            done(1)


def _lines(what: str, total: int | None, unit: str, initial: int) -> Callable[[int], object]:
    """For a log: a line every 30 seconds."""
    count, last = initial, time.monotonic()
    scale, name = (2**20, "MiB") if unit == "B" else (1, unit)

    def done(more: int) -> None:
        nonlocal count, last
        count += more
        now = time.monotonic()
        if now - last >= LOG_SECONDS:
            last = now
            of = f" of {total / scale:.0f}" if total else ""
            print(f"{what}: {count / scale:.0f}{of} {name}", file=sys.stderr, flush=True)

    return done
