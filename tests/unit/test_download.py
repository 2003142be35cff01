"""R1 to R7 and R26: archives come checked, resumed only when that is safe, from mirrors, from files, or not at all."""

import contextlib
import dataclasses
import errno
import hashlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from prn.datasets import capacity, download, registry, transfer
from prn.datasets.download import fetch
from prn.datasets.registry import Archive, DataSet
from prn.datasets.transfer import Options
from prn.errors import DataCorrupt, DataMissing, PrnError, SettingsError
from tests.unit.archive_builders import mvtec_tree, write_zip
from tests.unit.loopback_server import Server, cut, partial, silent, status, unannounced, whole

NAME = "set.zip"
FAST = Options(backoff_seconds=0.01, read_seconds=5, allow_loopback=True, save_every=8192, segment=20_000)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> bytes:
    """An archive of about 200 kB."""
    noise = random.Random(0).randbytes(200_000)
    return write_zip({"noise.bin": noise}, tmp_path_factory.mktemp("archive") / NAME).read_bytes()


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture
def register(monkeypatch):
    """A registry with one data set `set` of one archive."""

    def put(data: bytes, *urls: str, **changes) -> None:
        archive = Archive(NAME, urls, len(data), hashlib.sha256(data).hexdigest())
        archive = dataclasses.replace(archive, **changes)
        facts = DataSet("set", "The Set", "https://set.example/form", "CC0", "A. Uthor", "", 0, (archive,))
        monkeypatch.setattr(registry, "registry", lambda: {"set": facts})

    return put


def get(folder, **options):
    return fetch("set", folder, progress=False, options=dataclasses.replace(FAST, **options))


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".set.lock")


def test_an_archive_arrives_under_its_name_and_alone(server, register, data, tmp_path, capsys):
    register(data, server.at("/set.zip", whole(data)))
    assert get(tmp_path) == [tmp_path / NAME]
    assert (tmp_path / NAME).read_bytes() == data
    assert names(tmp_path) == [NAME]
    told = capsys.readouterr().err
    assert "CC0" in told
    assert "A. Uthor" in told
    assert "https://set.example/form" in told
    get(tmp_path)
    assert len(server.requests) == 1  # checked on the disk, not fetched again


# R1: a checksum even for what is there


def broken(data: bytes) -> dict[str, bytes]:
    flipped = bytearray(data)
    flipped[1000] ^= 1
    return {"truncated": data[:-1], "flipped": bytes(flipped), "wrong": bytes(len(data)), "empty": b""}


@pytest.mark.parametrize("case", ["truncated", "flipped", "wrong", "empty"])
@pytest.mark.parametrize("place", ["archive folder", "source folder", "source file", "file address"])
def test_a_wrong_archive_on_disk_is_named_with_both_hashes(register, data, tmp_path, case, place):
    register(data, "https://nowhere.invalid/set.zip")
    there = tmp_path / ("archives" if place == "archive folder" else "source")
    there.mkdir()
    (there / NAME).write_bytes(broken(data)[case])
    source = {
        "archive folder": None,
        "source folder": there,
        "source file": there / NAME,
        "file address": (there / NAME).as_uri(),
    }[place]
    with pytest.raises(DataCorrupt) as caught:
        fetch("set", tmp_path / "archives", source, progress=False)
    text = str(caught.value)
    assert str(there / NAME) in text
    assert hashlib.sha256(data).hexdigest() in text
    assert hashlib.sha256(broken(data)[case]).hexdigest() in text


@pytest.mark.parametrize("case", ["truncated", "flipped", "wrong", "empty"])
def test_a_wrong_download_is_thrown_away(server, register, data, tmp_path, case):
    register(data, server.at("/set.zip", whole(broken(data)[case])), bytes=None)
    with pytest.raises(DataMissing, match="sha256 is .* expected" if case != "empty" else "set.zip"):
        get(tmp_path)
    assert names(tmp_path) == []


# R2: an interrupted download leaves nothing under the final name


def test_a_connection_that_breaks_half_way_is_continued(server, register, data, tmp_path):
    register(data, server.at("/set.zip", cut(data, 100_000), whole(data)))
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data
    first, second = server.ranges()
    assert first is None
    start, _, end = second.removeprefix("bytes=").partition("-")
    assert 0 < int(start) <= 100_000
    assert int(end) == len(data) - 1
    assert server.requests[1][1]["If-Range"] == '"v1"'


def test_a_server_that_always_breaks_leaves_no_archive(server, register, data, tmp_path):
    register(data, server.at("/set.zip", cut(data, 50_000, etag="")))
    with pytest.raises(DataMissing):
        get(tmp_path)
    assert NAME not in names(tmp_path)


CHILD = """
import sys, dataclasses
from prn.datasets import registry
from prn.datasets.download import fetch
from prn.datasets.registry import Archive, DataSet
from prn.datasets.transfer import Options
url, folder, size, digest = sys.argv[1:5]
archive = Archive("set.zip", (url,), int(size), digest)
registry.registry = lambda: {"set": DataSet("set", "The Set", "home", "CC0", "me", "", 0, (archive,))}
options = Options(backoff_seconds=0.01, allow_loopback=True, save_every=8192)
print(fetch("set", folder, progress=False, options=options)[0], flush=True)
"""


def child(url, folder, data):
    command = [sys.executable, "-c", CHILD, url, folder, str(len(data)), hashlib.sha256(data).hexdigest()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.02)


def test_a_killed_download_leaves_no_archive_and_the_rerun_continues_it(server, register, data, tmp_path):
    url = server.at("/set.zip", whole(data, pause=0.05), whole(data))
    job = child(url, tmp_path, data)
    part = tmp_path / f"{NAME}.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 60_000)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert NAME not in names(tmp_path)
    register(data, url)
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data
    assert names(tmp_path) == [NAME]
    assert int(server.ranges()[-1].removeprefix("bytes=").split("-")[0]) >= 40_000


# R3: resumed only when that is safe


def start_a_part(folder, url, data, etag='"v1"', have=100_000, content=None):
    """What an interrupted download left."""
    folder.mkdir(exist_ok=True)
    (folder / f"{NAME}.part").write_bytes((data if content is None else content)[:have])
    state = {"url": url, "etag": etag, "total": len(data), "segments": [[0, have, len(data)]]}
    (folder / f"{NAME}.part.json").write_text(json.dumps(state))


@pytest.mark.parametrize(
    ("case", "requests"),
    [
        ("a good server", 1),
        ("a server that ignores ranges", 2),
        ("another range than asked for", 2),
        ("a range of another length", 2),
        ("a range of a file of another length", 2),
        ("no Content-Range", 2),
        ("another ETag with 206", 2),
        ("another ETag with 200", 2),
        ("416", 2),
        ("503, then good", 2),
        ("429, then good", 2),
        ("a break, then good", 2),
    ],
)
def test_resuming(server, register, data, tmp_path, case, requests):
    rest, span = data[100_000:], f"bytes 100000-{len(data) - 1}/{len(data)}"
    answers = {
        "a good server": [whole(data)],
        "a server that ignores ranges": [whole(data, ranges=False)],
        "another range than asked for": [
            partial(data[99_000:], f"bytes 99000-{len(data) - 1}/{len(data)}"),
            whole(data),
        ],
        "a range of another length": [partial(rest + b"more", span), whole(data)],
        "a range of a file of another length": [partial(rest, span + "1"), whole(data)],
        "no Content-Range": [status(206, rest, ETag='"v1"'), whole(data)],
        "another ETag with 206": [partial(rest, span, etag='"v2"'), whole(data)],
        "another ETag with 200": [whole(data, etag='"v2"')],
        "416": [status(416), whole(data)],
        "503, then good": [status(503), whole(data)],
        "429, then good": [status(429), whole(data)],
        "a break, then good": [lambda request: setattr(request, "close_connection", True), whole(data)],
    }[case]
    url = server.at("/set.zip", *answers)
    register(data, url)
    start_a_part(tmp_path, url, data)
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data
    assert len(server.requests) == requests
    assert server.ranges()[0] == f"bytes=100000-{len(data) - 1}"


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_without_a_strong_etag_a_download_starts_over(server, register, data, tmp_path, etag):
    register(data, server.at("/set.zip", cut(data, 100_000, etag=etag), whole(data, etag=etag)))
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data
    assert server.ranges() == [None, None]


def test_a_part_of_another_address_or_length_is_not_continued(server, register, data, tmp_path):
    url = server.at("/set.zip", whole(data))
    register(data, url)
    start_a_part(tmp_path, url + "?old", data)
    get(tmp_path)
    assert server.ranges() == [None]
    (tmp_path / NAME).unlink()
    start_a_part(tmp_path, url, data + b"longer")
    get(tmp_path)
    assert server.ranges() == [None, None]


def test_a_continued_part_with_wrong_bytes_is_noticed_and_fetched_again(server, register, data, tmp_path):
    url = server.at("/set.zip", whole(data))
    register(data, url)
    start_a_part(tmp_path, url, data, content=bytes(len(data)))
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data
    assert server.ranges() == [f"bytes=100000-{len(data) - 1}", None]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 1}', '{"url":"u","etag":"e","total":9,"segments":[["a"]]}'])
def test_a_damaged_state_file_is_no_obstacle(server, register, data, tmp_path, text):
    register(data, server.at("/set.zip", whole(data)))
    (tmp_path / f"{NAME}.part").write_bytes(b"something")
    (tmp_path / f"{NAME}.part.json").write_text(text)
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data


def test_busy_servers_are_tried_again_and_others_not(server, register, data, tmp_path):
    register(data, server.at("/set.zip", status(500), status(502), status(503), whole(data)))
    get(tmp_path)
    assert len(server.requests) == 4
    (tmp_path / NAME).unlink()
    register(data, server.at("/gone.zip", status(404)))
    with pytest.raises(DataMissing, match="404 Not Found"):
        get(tmp_path)
    assert len(server.requests) == 5
    register(data, server.at("/busy.zip", status(503)))
    with pytest.raises(DataMissing, match="503 Service Unavailable"):
        get(tmp_path)
    assert len(server.requests) == 9


def test_a_body_without_a_length_arrives(server, register, data, tmp_path):
    register(data, server.at("/set.zip", unannounced(data)))
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data


def test_an_archive_of_another_length_is_not_even_fetched(server, register, data, tmp_path):
    register(data, server.at("/set.zip", whole(data + b"more")))
    with pytest.raises(DataMissing, match=f"offers {len(data) + 4} bytes, expected {len(data)}"):
        get(tmp_path)


# several connections


def test_ranges_side_by_side(server, register, data, tmp_path):
    register(data, server.at("/set.zip", whole(data, pause=0.01)), connections=4)
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data
    spans = [tuple(int(n) for n in r.removeprefix("bytes=").split("-")) for r in server.ranges()]
    assert spans[0] == (0, 0)
    covered = sorted(spans[1:])
    assert covered[0][0] == 0
    assert covered[-1][1] == len(data) - 1
    assert all(left[1] + 1 == right[0] for left, right in itertools.pairwise(covered))
    assert len(covered) == 11  # 200 kB in segments of 20 kB
    assert names(tmp_path) == [NAME]


@pytest.mark.parametrize(
    ("case", "requests"), [("ignores ranges", 1), ("no ETag", 2), ("a length it does not know", 2)]
)
def test_where_ranges_are_not_safe_one_connection_fetches_all(server, register, data, tmp_path, case, requests):
    answers = {
        "ignores ranges": [whole(data, ranges=False)],
        "no ETag": [whole(data, etag="")],
        "a length it does not know": [partial(data[:1], "bytes 0-0/*"), whole(data)],
    }[case]
    register(data, server.at("/set.zip", *answers), connections=4)
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data
    assert len(server.requests) == requests
    assert server.ranges()[-1] == ("bytes=0-0" if requests == 1 else None)


def test_a_server_that_allows_fewer_connections_is_served_by_those(server, register, data, tmp_path):
    good, refused = whole(data, pause=0.005), status(503)
    register(data, server.at("/set.zip", good, refused, good, refused, good), connections=4)
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data


def test_ranges_of_a_file_that_changes_meanwhile_start_over(server, register, data, tmp_path):
    old, new = whole(data, etag='"old"'), whole(data, etag='"new"')
    register(data, server.at("/set.zip", old, old, old, old, new), connections=2)
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data


def test_a_killed_download_of_ranges_is_continued(server, register, data, tmp_path):
    url = server.at("/set.zip", whole(data, pause=0.03))
    register(data, url, connections=2)
    state = tmp_path / f"{NAME}.part.json"
    script = CHILD.replace("int(size), digest)", "int(size), digest, '', 2)").replace(
        "save_every", "segment=20000, save_every"
    )
    digest = hashlib.sha256(data).hexdigest()
    job = subprocess.Popen([sys.executable, "-c", script, url, tmp_path, str(len(data)), digest])
    wait_for(lambda: state.exists() and '"segments": [[0, 20000, 20000]' in state.read_text())
    job.send_signal(signal.SIGKILL)
    job.wait()
    before = len(server.requests)
    server.at("/set.zip", whole(data))
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data
    later = [int(r.removeprefix("bytes=").split("-")[0]) for r in server.ranges()[before:]]
    assert 0 not in later  # the first segment was complete


# R4: https is never left


def chain(steps: dict[str, str], data: bytes) -> httpx.MockTransport:
    """A network of redirects without any network."""

    def answer(request: httpx.Request) -> httpx.Response:
        location = steps.get(str(request.url))
        return (
            httpx.Response(302, headers={"location": location})
            if location
            else httpx.Response(200, stream=httpx.ByteStream(data))
        )

    return httpx.MockTransport(answer)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"https://a.example/": "http://a.example/x"}, "to http://a.example/x, which is not https"),
        ({"https://a.example/": "https://b.example/", "https://b.example/": "http://c.example/"}, "not https"),
        ({"https://a.example/": "file:///etc/passwd"}, "to file:/+etc/passwd, which is not https"),
        ({"https://a.example/": "ftp://a.example/x"}, "not https"),
        ({"https://a.example/": "http://127.0.0.1:9/x"}, "not https"),
        ({"https://a.example/": "https://a.example/"}, "more than 10 redirects"),
    ],
)
def test_a_redirect_that_leaves_https_is_refused(register, data, tmp_path, steps, message):
    register(data, "https://a.example/")
    with pytest.raises(DataMissing, match=message):
        get(tmp_path, transport=chain(steps, data))
    assert names(tmp_path) == []


def test_redirects_within_https_are_followed(register, data, tmp_path):
    register(data, "https://a.example/short")
    steps = {"https://a.example/short": "/long", "https://a.example/long": "https://b.example/set.zip"}
    get(tmp_path, transport=chain(steps, data))
    assert (tmp_path / NAME).read_bytes() == data


def test_plain_http_is_refused_unless_a_test_allows_loopback(server, register, data, tmp_path):
    register(data, server.at("/set.zip", whole(data)))
    with pytest.raises(DataMissing, match="is not an https address"):
        get(tmp_path, allow_loopback=False)
    register(data, "http://set.example/set.zip")
    with pytest.raises(DataMissing, match="is not an https address"):
        get(tmp_path)
    with pytest.raises(SettingsError, match="must be https"):
        fetch("set", tmp_path, "http://set.example/set.zip", progress=False)
    assert server.requests == []


# R5: mirrors in order, one summary


def test_mirrors_in_order_and_one_summary(server, register, data, tmp_path):
    html = b"<!DOCTYPE html><title>Log in</title>"
    bad = [
        server.at("/1", status(404)),
        server.at("/2", status(403)),
        server.at("/3", silent(3)),
        server.at("/4", status(200, html, Content_Type="text/html; charset=utf-8")),
        server.at("/5", status(200, html)),
        "http://127.0.0.1:1/refused",
    ]
    register(data, *bad, bytes=None)
    with pytest.raises(DataMissing) as caught:
        get(tmp_path, read_seconds=0.3, attempts=1)
    lines = str(caught.value).splitlines()
    assert lines[0] == "set.zip of The Set could not be downloaded:"
    for line, url, reason in zip(
        lines[1:7],
        bad,
        ["404 Not Found", "403 Forbidden", "timed out", "HTML page", "page of text", "refused"],
        strict=True,
    ):
        assert url in line
        assert reason in line
    assert "https://set.example/form" in lines[7]
    assert str(tmp_path) in lines[7]
    assert [path for path, _ in server.requests] == ["/1", "/2", "/3", "/4", "/5"]
    register(data, *bad, server.at("/6", whole(data)), bytes=None)
    get(tmp_path, read_seconds=0.3, attempts=1)
    assert (tmp_path / NAME).read_bytes() == data


def test_a_mirror_with_other_bytes_is_passed_over(server, register, data, tmp_path):
    register(data, server.at("/old", whole(bytes(len(data)))), server.at("/good", whole(data)))
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data


def test_what_the_user_put_there_by_hand_is_taken(register, data, tmp_path):
    register(data, "https://nowhere.invalid/set.zip")
    (tmp_path / NAME).write_bytes(data)
    assert get(tmp_path) == [tmp_path / NAME]


# R6: offline


@pytest.mark.parametrize("form", ["folder", "file", "file address", "folder address"])
def test_a_users_archive_needs_no_network(register, data, tmp_path, monkeypatch, form):
    def refuse(*_, **__):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    register(data, "https://nowhere.invalid/set.zip")
    folder = tmp_path / "my archives ä"
    folder.mkdir()
    (folder / NAME).write_bytes(data)
    source = {
        "folder": folder,
        "file": folder / NAME,
        "file address": (folder / NAME).as_uri(),
        "folder address": folder.as_uri(),
    }[form]
    (path,) = fetch("set", tmp_path / "archives", source, progress=False)
    assert path.read_bytes() == data
    assert path.parent == (tmp_path / "archives" if "address" in form else folder)  # a path is used in place


def test_sums_beside_local_archives_take_the_registrys_place(register, data, tmp_path):
    other = write_zip(mvtec_tree("bottle"), tmp_path / "source" / NAME)
    register(data, "https://nowhere.invalid/set.zip")
    with pytest.raises(DataCorrupt):
        fetch("set", tmp_path / "archives", other.parent, progress=False)
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    (other.parent / "SHA256SUMS").write_text(f"{digest}  {NAME}\n{'0' * 64} *another.zip\n")
    for source in (other.parent, other, other.parent.as_uri(), other.as_uri()):
        (path,) = fetch("set", tmp_path / "archives", source, progress=False)
        assert path.read_bytes() == other.read_bytes()
    (other.parent / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(DataCorrupt, match="SHA256SUMS: the line 'nonsense'"):
        fetch("set", tmp_path / "archives", other.parent, progress=False)


def test_a_folder_without_the_archive_says_what_it_expected(register, data, tmp_path):
    register(data, "https://nowhere.invalid/set.zip")
    with pytest.raises(DataMissing, match=r"set\.zip of The Set not found; get it from https://set\.example/form"):
        fetch("set", tmp_path / "archives", tmp_path, progress=False)
    with pytest.raises(DataMissing, match="no such file or folder"):
        fetch("set", tmp_path / "archives", tmp_path / "absent", progress=False)
    with pytest.raises(SettingsError, match="did you mean 'set'"):
        fetch("sett", tmp_path, progress=False)


def test_an_address_of_ones_own_is_held_against_the_registry(server, register, data, tmp_path):
    register(data, "https://nowhere.invalid/set.zip")
    url = server.at("/mirror/set.zip", whole(data))
    for source in (url, url.removesuffix("set.zip")):
        (path,) = fetch("set", tmp_path, source, progress=False, options=FAST)
        assert path.read_bytes() == data
        path.unlink()
    server.at("/mirror/set.zip", whole(bytes(len(data))))
    with pytest.raises(DataMissing, match="sha256 is"):
        fetch("set", tmp_path, url, progress=False, options=FAST)


# an archive without a published checksum


def test_an_archive_without_a_checksum_is_pinned_and_checked_ever_after(server, register, data, tmp_path):
    url = server.at("/set.zip", whole(data))
    register(data, url, sha256=None, bytes=None)
    get(tmp_path)
    pin = tmp_path / "set.zip.sha256"
    assert pin.read_text() == f"{hashlib.sha256(data).hexdigest()}  set.zip\n"
    get(tmp_path)
    other = write_zip({"other.bin": b"other"}, tmp_path / "other" / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(other)
    with pytest.raises(DataCorrupt, match=r"expected .*pinned in .*set\.zip\.sha256"):
        get(tmp_path)
    (tmp_path / NAME).unlink()
    server.at("/set.zip", whole(other))
    with pytest.raises(DataCorrupt, match="pinned in"):
        get(tmp_path)


def test_a_page_is_never_pinned(server, register, data, tmp_path):
    register(data, server.at("/set.zip", status(200, b"please log in")), sha256=None, bytes=None)
    with pytest.raises(DataMissing, match=r"is no zip, tar\.xz or tar\.gz"):
        get(tmp_path)
    assert names(tmp_path) == []
    (tmp_path / NAME).write_bytes(b"please log in")
    with pytest.raises(DataCorrupt, match="no zip"):
        get(tmp_path)
    assert names(tmp_path) == [NAME]


# R7: several processes


def test_of_four_processes_one_downloads(server, register, data, tmp_path):
    url = server.at("/set.zip", whole(data, pause=0.01))
    jobs = [child(url, tmp_path, data) for _ in range(4)]
    outputs = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 4, outputs
    assert {text for text, _ in outputs} == {f"{tmp_path / NAME}\n"}
    assert (tmp_path / NAME).read_bytes() == data
    assert len(server.requests) == 1


def test_the_lock_of_a_killed_download_is_free(server, register, data, tmp_path):
    url = server.at("/set.zip", whole(data, pause=1), whole(data))
    holder = child(url, tmp_path, data)
    wait_for((tmp_path / f"{NAME}.part").exists)
    waiter = child(url, tmp_path, data)
    assert "another process works on the archives of The Set" in waiter.stderr.readline()
    assert waiter.poll() is None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    waiter.communicate(timeout=30)
    assert waiter.returncode == 0
    assert (tmp_path / NAME).read_bytes() == data


# R25, R26: room and rights


def test_too_small_a_disk_is_known_before_the_first_byte(server, register, data, tmp_path, monkeypatch):
    register(data, server.at("/set.zip", whole(data)))
    monkeypatch.setattr(capacity, "free_disk", lambda folder: capacity.MARGIN + len(data) + 999)
    with pytest.raises(PrnError, match=r"The Set needs .* GiB of disk"):
        fetch("set", tmp_path, progress=False, options=FAST, reserve=1000)
    assert server.requests == []
    fetch("set", tmp_path, progress=False, options=FAST, reserve=999)


def test_a_length_that_only_the_server_knows_is_checked_too(server, register, data, tmp_path, monkeypatch):
    register(data, server.at("/set.zip", whole(data)), bytes=None)
    monkeypatch.setattr(capacity, "free_disk", lambda folder: capacity.MARGIN + 1000)
    with pytest.raises(PrnError, match=r"set\.zip\.part needs"):
        get(tmp_path)
    assert NAME not in names(tmp_path)


def test_without_a_published_length_the_disk_is_held_against_what_the_archives_hold(
    register, data, tmp_path, monkeypatch
):
    register(data, "https://nowhere.invalid/set.zip", bytes=None)
    facts = dataclasses.replace(registry.registry()["set"], unpacked_bytes=5000)
    monkeypatch.setattr(registry, "registry", lambda: {"set": facts})
    monkeypatch.setattr(capacity, "free_disk", lambda folder: capacity.MARGIN + 5999)
    with pytest.raises(PrnError, match=r"The Set needs .* GiB of disk"):
        fetch("set", tmp_path, progress=False, options=FAST, reserve=1000)


@pytest.mark.parametrize("connections", [1, 3])
def test_a_disk_that_fills_up_meanwhile_says_so_and_the_rerun_goes_on(
    server, register, data, tmp_path, monkeypatch, connections
):
    register(data, server.at("/set.zip", whole(data)), connections=connections)
    full = OSError(errno.ENOSPC, "No space left on device")
    save = transfer._save_state

    def fail(part, state):
        if state.missing() < state.total:  # some bytes are there
            raise full
        save(part, state)

    monkeypatch.setattr(transfer, "_save_state", fail)
    with pytest.raises(PrnError, match="No space left on device; free some space and run again, it goes on") as caught:
        get(tmp_path)
    assert "\n" not in str(caught.value)
    assert NAME not in names(tmp_path)
    monkeypatch.setattr(transfer, "_save_state", save)
    get(tmp_path)
    assert (tmp_path / NAME).read_bytes() == data


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(register, data, tmp_path):
    register(data, "https://nowhere.invalid/set.zip")
    tmp_path.chmod(0o555)
    with pytest.raises(PrnError, match="is the folder writable"):
        get(tmp_path / "archives")


def test_a_file_where_the_folder_should_be(register, data, tmp_path):
    register(data, "https://nowhere.invalid/set.zip")
    (tmp_path / "archives").write_text("a file")
    with pytest.raises(PrnError, match="is the folder writable"):
        get(tmp_path / "archives")


def test_progress_counts_every_byte_once(server, register, data, tmp_path, monkeypatch):
    counted = []

    @contextlib.contextmanager
    def bar(*_, initial, **__):
        counted.append(initial)
        yield counted.append

    monkeypatch.setattr(download, "progress_bar", bar)
    register(data, server.at("/set.zip", cut(data, 100_000), whole(data)))
    get(tmp_path)
    assert sum(counted) == len(data)
