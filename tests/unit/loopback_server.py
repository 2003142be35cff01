"""A web server on this machine that behaves as badly as a test asks for."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; answers are functions of it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Hand the request to the next answer for its path."""
        site: Server = self.server.site
        with site.lock:
            site.requests.append((self.path, dict(self.headers)))
            answers = site.answers[self.path]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def range(self) -> tuple[int, int] | None:
        """First and last byte asked for."""
        value = self.headers.get("Range")
        if value is None:
            return None
        first, _, last = value.removeprefix("bytes=").partition("-")
        return int(first), int(last)

    def head(self, code: int, length: int | None, **headers: str) -> None:
        """Status line and headers."""
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


class Server:
    """A server with a list of answers for each path (the last one repeats); remembers its requests."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self.http.site = self
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "Server":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def at(self, path: str, *answers: Answer) -> str:
        """Set the answers of a path; returns its address."""
        self.answers[path] = list(answers)
        return f"http://127.0.0.1:{self.http.server_port}{path}"

    def ranges(self) -> list[str | None]:
        """The Range header of every request, in order."""
        return [headers.get("Range") for _, headers in self.requests]


def whole(data: bytes, etag: str = '"v1"', ranges: bool = True, pause: float = 0.0, block: int = 4096) -> Answer:
    """A good server: ranges with If-Range where it knows them; `pause` seconds after every `block` bytes."""

    def answer(request: Request) -> None:
        span = request.range() if ranges else None
        condition = request.headers.get("If-Range")
        headers = {"ETag": etag} if etag else {}
        if span is None or (condition is not None and condition != etag):
            request.head(200, len(data), **headers)
            body = data
        elif span[0] >= len(data):
            request.head(416, 0, Content_Range=f"bytes */{len(data)}")
            return
        else:
            last = min(span[1], len(data) - 1)
            body = data[span[0] : last + 1]
            request.head(206, len(body), Content_Range=f"bytes {span[0]}-{last}/{len(data)}", **headers)
        for start in range(0, len(body), block):
            request.wfile.write(body[start : start + block])
            request.wfile.flush()
            if pause:
                time.sleep(pause)

    return answer


def cut(data: bytes, after: int, etag: str = '"v1"') -> Answer:
    """Announces all of `data`, sends `after` bytes and hangs up."""

    def answer(request: Request) -> None:
        request.head(200, len(data), **({"ETag": etag} if etag else {}))
        request.wfile.write(data[:after])
        request.wfile.flush()
        request.close_connection = True

    return answer


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """A status with a body."""

    def answer(request: Request) -> None:
        request.head(code, len(body), **headers)
        request.wfile.write(body)

    return answer


def partial(body: bytes, content_range: str, etag: str = '"v1"') -> Answer:
    """206 with whatever the test wants it to claim."""
    return status(206, body, Content_Range=content_range, ETag=etag)


def silent(seconds: float) -> Answer:
    """Takes the request and says nothing for a while."""

    def answer(request: Request) -> None:
        time.sleep(seconds)
        request.close_connection = True

    return answer


def unannounced(data: bytes) -> Answer:
    """A body in chunks, without a length."""

    def answer(request: Request) -> None:
        request.head(200, None, Transfer_Encoding="chunked", ETag='"v1"')
        for start in range(0, len(data), 1000):
            chunk = data[start : start + 1000]
            request.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        request.wfile.write(b"0\r\n\r\n")

    return answer
