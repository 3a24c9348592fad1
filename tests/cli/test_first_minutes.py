"""What a newcomer sees in the first minutes: in terminals of 80 and 200 columns, and in a pipe.

The files in transcripts/ hold what is printed; versions, paths, seconds and names of kernels are masked. After a change
of a message, KREGISTRY_WRITE_TRANSCRIPTS=1 writes them again: read the difference as a newcomer would.
"""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from kregistry.compile import BuildReport
from kregistry.store import Store

TRANSCRIPTS = Path(__file__).parent / "transcripts"
SCRIPT = Path(__file__).parents[1] / "support" / "first_minutes.py"
#: The bar of progress disappears when a command ends: what it shows depends on time.
_BAR = re.compile(r"\x1b\[\?25l.*?\x1b\[\?25h(?:\r?\n?\x1b\[[0-9;]*[A-Za-z])*", re.DOTALL)
#: The lines of progress in a pipe, of a command that takes more than ten seconds.
_PROGRESS = re.compile(r"^ *\d+% .*\n", re.MULTILINE)
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_MASKS = (
    (re.compile(r"\b\d+\.\d+\.\d+(?:\.post\d+)?\b|\b\d+\.\d+\.\d+\+\w+"), "VERSION"),
    (re.compile(r"\bversion \S+"), "version VERSION"),
    (re.compile(r"(?<=\.)[0-9a-f]{16}\b"), "KEY"),
    (re.compile(r"(?<=\.)[0-9a-f]{32}\b"), "HASH"),
    (re.compile(r"\d+\.\d+ s\b"), "N s"),
    (re.compile(r"\d+\.\d KiB\b(?=, compiled|\))"), "N KiB"),
)


def run_in_terminal(command: list[str], directory: Path, columns: int) -> str:
    """The output of a command in a terminal of a width."""
    main, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        command,
        cwd=directory,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
        start_new_session=True,
    ):
        os.close(terminal)
        chunks = []
        while True:
            try:
                chunk = os.read(main, 65536)
            except OSError:  # the last process has closed the terminal
                break
            chunks.append(chunk)
    os.close(main)
    return b"".join(chunks).decode().replace("\r\n", "\n")


def masked(text: str, places: dict[str, str]) -> str:
    text = _PROGRESS.sub("", _STYLE.sub("", _BAR.sub("", text)))
    for place, name in places.items():
        text = text.replace(place, name)
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


@pytest.mark.parametrize("columns", [80, 200, 0], ids=["80", "200", "pipe"])
def test_the_first_minutes(
    columns: int,
    tiny_file: Path,
    tiny_build: BuildReport,
    session_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = {str(session_store.directory): "STORE", tiny_build.cache_directory: "CACHE"}
    monkeypatch.setenv("KREGISTRY_STORE", str(session_store.directory))
    monkeypatch.setenv("DG_JIT_CACHE_DIR", tiny_build.cache_directory)
    command = [sys.executable, "-W", "ignore", str(SCRIPT)]
    if columns:
        text = run_in_terminal(command, tiny_file.parent, columns)
    else:
        piped = subprocess.PIPE
        done = subprocess.run(command, cwd=tiny_file.parent, stdout=piped, stderr=subprocess.STDOUT, text=True)
        text = done.stdout
        assert "\x1b" not in text
    shown = masked(text, places)
    path = TRANSCRIPTS / f"{columns or 'pipe'}.txt"
    if os.environ.get("KREGISTRY_WRITE_TRANSCRIPTS"):
        path.write_text(shown)
    rules = [line for line in shown.splitlines() if line.startswith("─")]
    assert bool(rules) == bool(columns) and all(len(rule) <= columns for rule in rules)
    assert shown == path.read_text(), "KREGISTRY_WRITE_TRANSCRIPTS=1 writes it again"
