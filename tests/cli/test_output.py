"""Standard output of the console script: only data, whatever a plugin writes, and whatever standard output is."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from distributions import Install

SCRIPT = [sys.executable, "-m", "kregistry"]
HEAD = "import atexit, os, sys, threading, time\nfrom kregistry import hookimpl\n"
NOISE = {
    "child": "os.system('echo NOISE')",
    "descriptor": "os.write(1, b'NOISE\\n')",
    "original": "sys.__stdout__.write('NOISE\\n')",
    "restored": "sys.stdout = sys.__stdout__\nprint('NOISE')",
    "atexit": "atexit.register(print, 'NOISE')",
    "thread": (
        "def late():\n    threading.main_thread().join()\n    print('NOISE')\nthreading.Thread(target=late).start()"
    ),
    "listener": "@hookimpl\ndef kregistry_plan_started():\n    os.system('echo NOISE')",
}


def environment(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(":")}


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell, in which ``$K`` is the console script."""
    names = {**os.environ, "K": " ".join(SCRIPT), **variables}
    return subprocess.run(["bash", "-c", line], env=names, capture_output=True, text=True)


@pytest.mark.parametrize("how", [name for name in NOISE if name != "listener"])
def test_what_a_plugin_writes_to_descriptor_1_is_not_data(install: Install, how: str) -> None:
    module = install("noisy", "1.0", HEAD + NOISE[how], plugin="noisy")
    done = subprocess.run(
        [*SCRIPT, "list", "--json"], env=environment(module.parent), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["kernel_types"]
    assert "NOISE\n" in done.stderr


@pytest.mark.stub
def test_what_a_listener_writes_to_descriptor_1_is_not_data(install: Install, tiny_file: Path) -> None:
    module = install("noisy", "1.0", HEAD + NOISE["listener"], plugin="noisy")
    done = subprocess.run(
        [*SCRIPT, "plan", str(tiny_file), "--json"], env=environment(module.parent), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    assert "NOISE\n" in done.stderr


def test_a_plugin_that_closes_standard_output_closes_nothing_else(install: Install) -> None:
    module = install("closing", "1.0", HEAD + "sys.stdout.close()", plugin="closing")
    done = subprocess.run(
        [*SCRIPT, "list", "--plugin", "x=y"], env=environment(module.parent), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown kernel type 'x'" in done.stderr


def test_a_recorded_command_writes_to_standard_output() -> None:
    done = subprocess.run([*SCRIPT, "record", "--", "echo", "its", "own"], capture_output=True, text=True)
    assert done.stdout == "its own\n"
    assert "its own" not in done.stderr


@pytest.mark.parametrize("arguments", ["list", "list --json", "list bf16_gemm_nt", "check $F --json", "docs", "--help"])
def test_a_full_disk_is_one_message_and_exit_4(tiny_file: Path, arguments: str) -> None:
    done = shell(f"$K {arguments} > /dev/full", F=str(tiny_file))
    assert (done.returncode, done.stderr) == (4, "error: standard output: No space left on device\n")


@pytest.mark.parametrize("arguments", ["list", "list --json", "schema"])
def test_a_broken_pipe_says_nothing(arguments: str) -> None:
    done = shell(f"$K {arguments} | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_standard_streams_may_be_closed() -> None:
    names = json.loads(shell("$K list --json").stdout)
    assert shell("$K list --json > /dev/null 2>&-").returncode == 0
    assert json.loads(shell("$K list --json 2>&-").stdout) == names
    assert json.loads(shell("$K list --json 2>&- <&-").stdout) == names
    assert shell("$K list --json >&-").returncode == 0


def test_data_on_a_terminal_is_for_a_terminal() -> None:
    """Standard output is a terminal and standard error is none: a table has the colours of a terminal."""
    ours, theirs = pty.openpty()
    variables = {**os.environ, "TERM": "xterm"}
    variables.pop("NO_COLOR", None)
    with subprocess.Popen([*SCRIPT, "list"], env=variables, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        found = b""
        try:
            while piece := os.read(ours, 4096):
                found += piece
        except OSError:  # the end of a terminal
            pass
        assert process.stderr is not None
        assert process.stderr.read() == b""
    os.close(ours)
    assert process.returncode == 0
    assert b"\x1b[" in found and b"bf16_gemm_nt" in found


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from kregistry.cli.output import echo, say

    echo("a\x1b]0;evil\x07\tb\n\udcff\u202e\x9b31mé")
    say("\x1b[2J", mark="\x1b[31mours\x1b[0m ")
    captured = capsys.readouterr()
    assert captured.out == "a\\x1b]0;evil\\x07\tb\n\\udcff\\u202e\\x9b31mé\n"
    assert "\x1b[2J" not in captured.err and "\\x1b[2J" in captured.err
