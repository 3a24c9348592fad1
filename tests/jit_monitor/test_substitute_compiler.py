"""The program in the place of the compiler, and a monitor that is slower than it."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from kregistry.jit_monitor import substitute_compiler


@pytest.mark.parametrize(("mode", "code"), [("count", 0), ("error", 1)])
def test_it_ends_only_after_the_monitor_has_read_the_stack_and_noted_the_end(
    tmp_path: Path, mode: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the call returns, and nobody knows its place; or its process ends, and the monitor's thread with it."""
    (tmp_path / "mode").write_text(mode)
    (tmp_path / "kernel.cu").write_text("source")
    monkeypatch.setattr(substitute_compiler, "_ANSWER_SECONDS", 200.0)
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    monkeypatch.setenv("KREGISTRY_MONITOR", ".")
    monkeypatch.setenv("KREGISTRY_MONITORED_NVCC", "/bin/true")
    codes: list[int] = []
    program = threading.Thread(target=lambda: codes.append(substitute_compiler.main([str(tmp_path / "kernel.cu")])))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind("socket")
        server.listen()
        program.start()
        channel, _ = server.accept()
        with channel, channel.makefile("rb") as lines:
            assert json.loads(lines.readline())["refuse"] is (mode == "error")
            program.join(0.2)  # the monitor reads the stack
            assert program.is_alive()
            channel.send(b"x")
            assert json.loads(lines.readline())["code"] == code
            program.join(0.2)  # the monitor writes its log
            assert program.is_alive()
            channel.send(b"x")
            program.join()
    assert codes == [code]
