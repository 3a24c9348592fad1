"""Where the time of a start goes: what kregistry does in each process of an engine, and when.

STARTS/NAME/phases-PID.jsonl    one line for each phase of a process

At level DEBUG the logger ``kregistry.integrations`` shows the same lines.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

log = logging.getLogger("kregistry.integrations")


class Phases:
    """The phases of one process. Those before the folder of the start is known are written once it is."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []
        self._directory: Path | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a block: wall seconds, and seconds of this thread on a core (the rest is waiting)."""
        at, began, cpu = time.time(), time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            with suppress(Exception):  # whatever is wrong with a line, it is no reason to fail
                self._add(name, at, time.perf_counter() - began, time.thread_time() - cpu)

    def write_to(self, directory: Path) -> None:
        """Keep the phases in the folder of a start, those until now and those to come."""
        if self._directory is None:
            self._directory = directory
            self._write(self._lines)

    def _add(self, name: str, at: float, seconds: float, cpu: float) -> None:
        thread = threading.current_thread().name
        line = {"phase": name, "at": round(at, 3), "s": round(seconds, 4), "cpu_s": round(cpu, 4), "thread": thread}
        log.debug("kregistry: %s took %.3f s, %.3f s of it on a core (%s)", name, seconds, cpu, thread)
        if self._directory is None:
            self._lines.append(line)
        else:
            self._write([line])

    def _write(self, lines: list[dict[str, Any]]) -> None:
        assert self._directory is not None
        try:
            with (self._directory / f"phases-{os.getpid()}.jsonl").open("a") as file:
                file.writelines(f"{json.dumps(line)}\n" for line in lines)
        except OSError as error:
            log.debug("kregistry: phases are not kept: %s", error)


#: Of this process.
PHASES = Phases()


def read_phases(directory: Path) -> list[dict[str, Any]]:
    """The phases of all processes of a start, in the order in which they began."""
    found = []
    for path in directory.glob("phases-*.jsonl"):
        pid = int(path.stem.partition("-")[2])
        found += [{"pid": pid, **json.loads(line)} for line in path.read_text().splitlines()]
    return sorted(found, key=lambda line: float(line["at"]))
