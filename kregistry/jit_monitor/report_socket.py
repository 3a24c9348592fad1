"""The thread of a JIT monitor: it receives the reports of compilers and of inotify, and sleeps otherwise."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, field

_log = logging.getLogger("kregistry.jit_monitor")
#: Gets the first report of a compiler (caller, child, time, source, refuse); its result is kept for OnEnd.
OnStart = Callable[[dict[str, Any]], Any]
#: Gets the result of OnStart, and the second report (code, seconds).
OnEnd = Callable[[Any, dict[str, Any]], None]


@define(eq=False)
class _Connection:
    channel: socket.socket
    pending: bytes = b""
    context: Any = None
    begun: bool = field(default=False)


class ReportSocket:
    """Serves one socket from one daemon thread. Handlers are called in that thread, one at a time."""

    def __init__(self, path: Path, on_start: OnStart, on_end: OnEnd) -> None:
        self._on_start = on_start
        self._on_end = on_end
        self._selector = selectors.DefaultSelector()
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen(128)
        self._wake, self._woken = os.pipe()
        self._selector.register(self._server, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="kregistry-jit-monitor", daemon=True)
        self._thread.start()

    def watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        """Call ``handler`` whenever ``descriptor`` is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, lambda _: handler())

    def close(self) -> None:
        """End the thread, after the reports that have arrived are handled."""
        os.write(self._woken, b"x")
        self._thread.join()
        self.abandon()

    def abandon(self) -> None:
        """Close the descriptors of this process. For the child of a fork, in which the thread does not exist."""
        self._selector.close()
        self._server.close()
        os.close(self._wake)
        os.close(self._woken)

    def _serve(self) -> None:
        while True:
            ready = self._selector.select()
            for key, _ in ready:
                if key.data is not None:
                    key.data(key.fileobj)
            if len(ready) == 1 and ready[0][0].data is None:
                return  # close() was called, and no report is left

    def _accept(self, server: Any) -> None:
        channel, _ = server.accept()
        connection = _Connection(channel)
        self._selector.register(channel, selectors.EVENT_READ, lambda _: self._receive(connection))

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.channel.recv(1 << 20)
        except OSError:
            data = b""
        connection.pending += data
        *lines, connection.pending = connection.pending.split(b"\n")
        for line in lines:
            with _logged():
                self._report(connection, json.loads(line))
        if not data:
            self._selector.unregister(connection.channel)
            connection.channel.close()
            if connection.begun:  # the compiler was killed before its second report
                self._ended(connection, {"code": -1, "seconds": 0.0})

    def _report(self, connection: _Connection, message: dict[str, Any]) -> None:
        if not connection.begun:
            connection.begun = True
            with _logged():
                connection.context = self._on_start(message)
        else:
            self._ended(connection, message)
        with contextlib.suppress(OSError):  # the compiler waits for it, so that the caller does not go on before
            connection.channel.send(b"x")

    def _ended(self, connection: _Connection, message: dict[str, Any]) -> None:
        context, connection.context, connection.begun = connection.context, None, False
        if context is not None:  # otherwise its start could not be read, which was said
            with _logged():
                self._on_end(context, message)


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """An error in one report loses that report: the thread goes on, since compilers wait for its answers."""
    try:
        yield
    except Exception:
        _log.exception("a report of a compiler is lost")
