"""A proxy before a real server on the loopback interface, which spoils its answers as a test asks it to."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from serving_thread import serving

#: Seconds that a slow answer takes.
SLOW_SECONDS = 3.0
#: What a proxy can do: an answer of its own, another body, no answer, or a server that forgets that it has answered.
FAULTS = ("403", "500", "507", "redirect", "half", "flipped", "empty", "page", "slow", "reset", "lost answer")


class FaultProxy(ThreadingHTTPServer):
    """Forwards every request.

    Attributes:
        fault: one of :data:`FAULTS`, or empty.
        requests: (method, path) of each request.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = port
        self.fault = ""
        self.requests: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has not waited."""


@contextmanager
def fault_proxy(port: int) -> Iterator[FaultProxy]:
    """
    Args:
        port: of the real server.
    """
    server = FaultProxy(port)
    with serving(server):
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path))
        fault = self.server.fault
        if fault.isdigit():
            self._answer(int(fault), {}, b"")
        elif fault == "redirect":
            self._answer(302, {"Location": f"{self.server.url}/elsewhere"}, b"")
        elif fault == "reset":
            self.close_connection = True
        else:
            if fault == "slow":
                time.sleep(SLOW_SECONDS)
            self._ask(body, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

    def _ask(self, body: bytes, fault: str) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content, kept = answer.read(), dict(answer.getheaders())
        upstream.close()
        if fault == "lost answer":  # the server has done it, and nobody hears so
            self.close_connection = True
            return
        spoilt = answer.status == 200 and self.command == "GET"
        if spoilt and fault == "flipped" and content:
            content = content[:-1] + bytes([content[-1] ^ 1])
        elif spoilt and fault == "empty":
            content = b""
        elif spoilt and fault == "page":
            content = b"<html>please log in</html>"
        cut = spoilt and fault == "half"
        if self.command == "HEAD":
            kept["Content-Length"] = answer.getheader("Content-Length") or "0"
        self._answer(answer.status, kept, content, cut=cut)

    def _answer(self, code: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
        self.send_response(code)
        for name, value in headers.items():
            if name.lower() in ("etag", "last-modified", "location", "content-type"):
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass
