"""The socket of a monitor: each report is answered, also one that cannot be read."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from kregistry.jit_monitor.report_socket import ReportSocket

LIMIT = 60.0


def report(path: Path, *messages: bytes) -> list[bytes]:
    """The answers to some lines on one connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(LIMIT)
        channel.connect(str(path))
        answers = []
        for each in messages:
            channel.sendall(each + b"\n")
            answers.append(channel.recv(1))
        return answers


def line(**message: Any) -> bytes:
    return json.dumps(message).encode()


def test_a_report_that_cannot_be_read_is_lost_and_the_next_are_heard(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread would end otherwise, and each compile would wait a second for an answer, twice."""
    ended: list[tuple[str, int]] = []

    def start(message: dict[str, Any]) -> str:
        return str(message["source"])

    def end(source: str, message: dict[str, Any]) -> None:
        if source == "odd":
            raise ValueError("odd")
        ended.append((source, message["code"]))

    path = tmp_path / "socket"
    made = ReportSocket(path, start, end)
    assert report(path, line(), line(code=0)) == [b"x", b"x"]
    assert report(path, line(source="odd"), line(code=0)) == [b"x", b"x"]
    assert report(path, line(source="good"), line(code=7)) == [b"x", b"x"]
    report(path, line(source="killed"))
    made.close()
    assert ended == [("good", 7), ("killed", -1)]
    assert caplog.text.count("a report of a compiler is lost") == 2
