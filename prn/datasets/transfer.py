"""One address to one file over https: redirects checked, resumed only when that is safe, ranges side by side.

The bytes go to `<file>.part`, what is known about them to `<file>.part.json`. A part is continued only where the
address, a strong ETag and the length are those of before; everything else starts over. Nothing here trusts the result:
the caller compares the hash of the whole.
"""

import contextlib
import itertools
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from prn.datasets.capacity import check_disk

LOOPBACK = ("127.0.0.1", "::1", "localhost")
HTML = (b"<!doctype", b"<html", b"<?xml")
Report = Callable[[int], object]  # called with the number of bytes that arrived


@dataclass(frozen=True, slots=True)
class Options:
    """How patient a transfer is. allow_loopback and transport exist for tests against a server on this machine."""

    connect_seconds: float = 20.0
    read_seconds: float = 60.0
    attempts: int = 4
    backoff_seconds: float = 1.0
    redirects: int = 10
    segment: int = 2**23
    save_every: int = 2**22
    allow_loopback: bool = False
    transport: httpx.BaseTransport | None = None


class TransferError(Exception):
    """This address does not give the file; the message says why."""


class _Again(TransferError):
    """Worth another attempt: the server is busy or the connection broke."""


class _Restart(TransferError):
    """What is there cannot be continued: start over."""


@dataclass(slots=True)
class _State:
    """What a part file is a part of; a segment is [first byte, next byte to fetch, end]."""

    url: str
    etag: str
    total: int | None
    segments: list[list[int]] = field(default_factory=list)

    def missing(self) -> int:
        """Bytes still to come."""
        return sum(end - position for _, position, end in self.segments)


def transfer(
    url: str, part: Path, *, expected: int | None, connections: int, options: Options, report: Report = lambda _: None
) -> None:
    """Fetch `url` into `part`; on return the part is as long as the server says. TransferError where that fails.

    expected: the known length or None. Broken connections, time-outs, 429 and 5xx are tried again, after a pause that
    doubles, until `options.attempts` in a row have brought nothing new.
    """
    timeout = httpx.Timeout(options.read_seconds, connect=options.connect_seconds)
    headers = {"Accept-Encoding": "identity", "User-Agent": "prn-benchmark"}
    failures = restarts = 0
    with httpx.Client(timeout=timeout, headers=headers, transport=options.transport) as client:
        while True:
            before = arrived(part)
            try:
                _Attempt(client, url, part, expected, options, report).run(connections)
                return
            except _Restart as error:
                report(-arrived(part))
                discard(part)
                restarts += 1
                if restarts > options.attempts:
                    raise TransferError(str(error)) from error
            except (_Again, httpx.TransportError) as error:
                failures = 1 if arrived(part) > before else failures + 1
                if failures >= options.attempts:
                    raise TransferError(_words(error)) from error
                time.sleep(options.backoff_seconds * 2 ** (failures - 1))


def discard(part: Path) -> None:
    """Remove a part file and what is known about it."""
    part.unlink(missing_ok=True)
    _state_file(part).unlink(missing_ok=True)
    part.with_name(part.name + ".json.new").unlink(missing_ok=True)


def arrived(part: Path) -> int:
    """Bytes of a part file that a later transfer may build upon."""
    try:
        state = json.loads(_state_file(part).read_text(encoding="utf-8"))
        return sum(position - first for first, position, _ in state["segments"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


@dataclass(slots=True)
class _Attempt:
    """One try at an address: continues the part where that is safe, else begins it."""

    client: httpx.Client
    url: str
    part: Path
    expected: int | None
    options: Options
    report: Report
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, connections: int) -> None:
        """Fetch what is missing."""
        state = _load_state(self.part)
        if state is not None and (state.url != self.url or self.expected not in (None, state.total)):
            self.report(-arrived(self.part))
            discard(self.part)
            state = None
        if state is None:
            state = self._begin(connections)
        if state is not None and state.missing():
            self._fill(state, connections)

    def _begin(self, connections: int) -> _State | None:
        """Start from nothing: by one plain stream, or only a plan of segments where the server can send ranges."""
        headers = {"Range": "bytes=0-0"} if connections > 1 else {}
        with _open(self.client, self.url, headers, self.options) as response:
            etag = _strong_etag(response)
            ranged = response.status_code == 206
            total = _range_of(response)[2] if ranged else _length(response)
            self._check(response, total)
            if ranged and etag and total:
                step = max(self.options.segment, total // (8 * connections))
                bounds = [*range(0, total, step), total]
                state = _State(self.url, etag, total, [[a, a, b] for a, b in itertools.pairwise(bounds)])
                with self.part.open("wb") as file:
                    file.truncate(total)
                _save_state(self.part, state)
                return state
            if not ranged:
                self._stream_all(response, _State(self.url, etag, total, [[0, 0, total or 0]]))
                return None
        if connections == 1:
            raise TransferError("the server sent a part of the file although all of it was asked for")
        return self._begin(1)

    def _check(self, response: httpx.Response, total: int | None) -> None:
        """Refuse what cannot be the archive before it is fetched."""
        if response.headers.get("content-type", "").split(";")[0].strip().lower() == "text/html":
            raise TransferError("the server sent an HTML page (a login or a form?) instead of the archive")
        if self.expected is not None and total is not None and total != self.expected:
            raise TransferError(f"the server offers {total} bytes, expected {self.expected}")
        if total is not None:
            check_disk(self.part.parent, total, self.part.name)

    def _stream_all(self, response: httpx.Response, state: _State) -> None:
        """A plain 200 response into the part, from its first byte."""
        resumable = bool(state.etag) and state.total is not None
        position = saved = 0
        with self.part.open("wb") as file:
            if resumable:
                _save_state(self.part, state)
            try:
                for block in response.iter_raw():
                    if position == 0 and block[:64].lstrip().lower().startswith(HTML):
                        raise TransferError("the server sent a page of text instead of the archive")
                    file.write(block)
                    position += len(block)
                    self.report(len(block))
                    state.segments = [[0, position, max(position, state.total or 0)]]
                    if resumable and position - saved >= self.options.save_every:
                        saved = position
                        file.flush()
                        _save_state(self.part, state)
            finally:
                file.flush()
                if resumable:
                    _save_state(self.part, state)
        if state.total is not None and position != state.total:
            raise _Restart(f"{position} bytes arrived, the server announced {state.total}")

    def _fill(self, state: _State, connections: int) -> None:
        """Fetch the incomplete segments, `connections` at a time; a connection that fails gives its segment back."""
        todo = deque(segment for segment in state.segments if segment[1] < segment[2])
        errors: list[Exception] = []
        handle = os.open(self.part, os.O_WRONLY)

        def work() -> None:
            while True:
                with self.lock:
                    if not todo or any(isinstance(error, _Restart) for error in errors):
                        return
                    segment = todo.popleft()
                try:
                    self._segment(state, segment, handle)
                except (TransferError, httpx.TransportError) as error:
                    with self.lock:
                        errors.append(error)
                        todo.append(segment)
                    return

        try:
            with ThreadPoolExecutor(max(1, min(connections, len(todo)))) as pool:
                for job in [pool.submit(work) for _ in range(max(1, min(connections, len(todo))))]:
                    job.result()
        finally:
            os.close(handle)
            _save_state(self.part, state)
        if state.missing():
            raise next((error for error in errors if isinstance(error, _Restart)), errors[0])

    def _segment(self, state: _State, segment: list[int], handle: int) -> None:
        """One range into its place in the part."""
        _, position, end = segment
        headers = {"Range": f"bytes={position}-{end - 1}", "If-Range": state.etag}
        with _open(self.client, self.url, headers, self.options) as response:
            if response.status_code != 206:
                raise _Restart("the server no longer sends ranges of the same file")
            if _range_of(response) != (position, end - 1, state.total) or _strong_etag(response) != state.etag:
                raise _Restart("the server sent another range or another version of the file")
            saved = position
            for block in response.iter_raw():
                if segment[1] + len(block) > end:
                    raise _Restart("the server sent more than the range it was asked for")
                os.pwrite(handle, block, segment[1])
                segment[1] += len(block)
                self.report(len(block))
                if segment[1] - saved >= self.options.save_every:
                    saved = segment[1]
                    with self.lock:
                        _save_state(self.part, state)
        if segment[1] != end:
            raise _Again(f"the connection ended at byte {segment[1]} of {end}")


@contextlib.contextmanager
def _open(client: httpx.Client, url: str, headers: dict[str, str], options: Options) -> Iterator[httpx.Response]:
    """The response to a GET after all redirects, each of which must stay on https."""
    current = httpx.URL(url)
    _check_address(current, None, options)
    for _ in range(options.redirects + 1):
        response = client.send(client.build_request("GET", current, headers=headers), stream=True)
        try:
            if response.has_redirect_location:
                following = _join(current, response.headers["location"])
                _check_address(following, current, options)
                current = following
                continue
            _check_status(response)
            yield response
            return
        finally:
            response.close()
    raise TransferError(f"more than {options.redirects} redirects")


def _join(url: httpx.URL, location: str) -> httpx.URL:
    """Where a redirect leads."""
    try:
        return url.join(location)
    except httpx.InvalidURL as error:
        raise TransferError(f"redirected from {url} to {location!r}, which is no address") from error


def _check_address(url: httpx.URL, previous: httpx.URL | None, options: Options) -> None:
    """https only; http on loopback for tests, and never as a step down from https."""
    local = options.allow_loopback and url.host in LOOPBACK and (previous is None or previous.scheme == "http")
    if url.scheme == "https" or (url.scheme == "http" and local):
        return
    if previous is None:
        raise TransferError(f"refused: {url} is not an https address")
    raise TransferError(f"refused: redirected from {previous} to {url}, which is not https")


def _check_status(response: httpx.Response) -> None:
    code = response.status_code
    if code in (200, 206):
        return
    words = f"{code} {response.reason_phrase}"
    if code == 416:
        raise _Restart(words)
    raise (_Again if code == 429 or code >= 500 else TransferError)(words)


def _strong_etag(response: httpx.Response) -> str:
    """The response's ETag where it vouches for every byte, else ''."""
    etag = response.headers.get("etag", "")
    return "" if etag.startswith("W/") else etag


def _length(response: httpx.Response) -> int | None:
    length = response.headers.get("content-length", "")
    return int(length) if length.isdigit() else None


def _range_of(response: httpx.Response) -> tuple[int, int, int | None]:
    """First, last and total of `Content-Range: bytes first-last/total`; _Restart where there is no such header."""
    try:
        unit, _, rest = response.headers["content-range"].partition(" ")
        span, _, total = rest.partition("/")
        first, _, last = span.partition("-")
        if unit != "bytes":
            raise ValueError(unit)
        return int(first), int(last), None if total == "*" else int(total)
    except (KeyError, ValueError):
        raise _Restart(f"the server sent the range {response.headers.get('content-range')!r}") from None


def _state_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _save_state(part: Path, state: _State) -> None:
    record = {"url": state.url, "etag": state.etag, "total": state.total, "segments": state.segments}
    temporary = part.with_name(part.name + ".json.new")
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(_state_file(part))


def _load_state(part: Path) -> _State | None:
    """What is known about a part; None (and the part removed) where it cannot be continued."""
    try:
        state = _State(**json.loads(_state_file(part).read_text(encoding="utf-8")))
        size = part.stat().st_size
        if state.etag and state.total is not None and all(position <= size for _, position, _ in state.segments):
            return state
    except (OSError, ValueError, TypeError):
        pass
    discard(part)
    return None


def _words(error: Exception) -> str:
    """An error for the summary; httpx leaves some without a text."""
    if isinstance(error, httpx.TimeoutException):
        return f"timed out ({type(error).__name__})"
    return str(error) or type(error).__name__
