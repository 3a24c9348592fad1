"""The watchdog ends the children of a killed process, also those that are in sessions of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

OWNER = """
import os, subprocess, sys
from kregistry.watchdog import Watchdog
with Watchdog(float(sys.argv[1])) as watchdog:
    child = subprocess.Popen(
        ["sh", "-c", sys.argv[2]], env={**os.environ, **watchdog.environment}, start_new_session=True
    )
    print(child.pid, flush=True)
    sys.stdin.readline()
print("ended", flush=True)
"""


def gone(pid: int, seconds: float = 30.0) -> bool:
    """Whether a process that is not our child ends in time; a zombie has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def owner(grace: float, script: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(grace), script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_the_children_of_a_killed_process_end() -> None:
    process, child = owner(0, "sleep 1000 & wait")
    with process:
        process.kill()
    assert gone(child)


def test_with_grace_they_may_clean_up(tmp_path: Path) -> None:
    cleaned, ready = tmp_path / "cleaned", tmp_path / "ready"
    process, child = owner(20, f"trap 'touch {cleaned}; exit' TERM; touch {ready}; while :; do sleep 0.05; done")
    while not ready.exists():
        time.sleep(0.01)
    with process:
        process.kill()
    assert gone(child) and cleaned.exists()


def test_nothing_is_ended_after_an_orderly_end() -> None:
    process, child = owner(0, "sleep 1000")
    assert process.stdin is not None and process.stdout is not None
    with process:
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ended\n"
        os.kill(child, 0)
        os.kill(child, 9)
