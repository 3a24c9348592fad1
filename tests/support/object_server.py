"""A real HTTP server on the loopback interface that keeps objects, and misbehaves as a test asks it to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from serving_thread import serving

#: Seconds that a slow answer takes.
SLOW_SECONDS = 3.0


class ObjectServer(ThreadingHTTPServer):
    """GET, HEAD and PUT of objects.

    Attributes:
        objects: path -> content.
        fault: how it misbehaves: ``403``, ``500``, ``507`` (full), ``redirect``, ``half``, ``flipped``,
            ``empty``, ``slow``.
        requests: (method, path) of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.fault = ""
        self.requests: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/kernels"


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    server = ObjectServer()
    with serving(server):
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: ObjectServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self._begin("GET"):
            return
        content = self.server.objects.get(self.path)
        if content is None:
            self._answer(404)
        else:
            self._answer(200, content)

    def do_HEAD(self) -> None:
        if self._begin("HEAD"):
            return
        content = self.server.objects.get(self.path)
        self._answer(404 if content is None else 200, content or b"", body=False)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self._begin("PUT"):
            return
        self.server.objects[self.path] = content
        self._answer(201)

    def _begin(self, method: str) -> bool:
        """Whether a fault has answered already."""
        self.server.requests.append((method, self.path))
        fault = self.server.fault
        if fault.isdigit():
            self._answer(int(fault))
            return True
        if fault == "redirect":
            self.send_response(302)
            self.send_header("Location", f"{self.server.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return True
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        return False

    def _answer(self, code: int, content: bytes = b"", *, body: bool = True) -> None:
        self.send_response(code)
        sent = content
        if code == 200 and self.server.fault == "flipped":
            sent = content[:-1] + bytes([content[-1] ^ 1])
        elif code == 200 and self.server.fault == "empty":
            sent = content = b""
        elif code == 200 and self.server.fault == "half":
            sent = content[: len(content) // 2]
            self.close_connection = True
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", "Mon, 30 Nov 2026 12:00:00 GMT")
        self.send_header("ETag", '"x"')
        self.end_headers()
        if body:
            self.wfile.write(sent)

    def log_message(self, format: str, *arguments: object) -> None:
        pass
