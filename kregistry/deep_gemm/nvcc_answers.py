"""What an nvcc says of itself, remembered on this machine while the program and its nvcc.profile stay as they are.

Asking takes two processes at each start of a command. A script in the place of nvcc, or a link to a program of another
name such as ccache, is asked every time: what it says may depend on anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from kregistry.deep_gemm.nvcc_flags import for_nvcc
from kregistry.deep_gemm.remembered import remembered

_ELF = b"\x7fELF"
#: It answers in a fraction of a second; the first time, from a busy network drive, in more.
_ANSWER_SECONDS = 60.0
#: Names in nvcc.profile may be variables of the environment, whether it reads or extends them.
_WORD = re.compile(r"[A-Za-z_]\w*")
_OF_NVCC = re.compile(r"(NVCC|NVVM|CUDA|CICC)\w*")


def version_text(nvcc: Path) -> str:
    """What ``nvcc --version`` prints.

    Raises:
        OSError, subprocess.SubprocessError: it does not run, or does not answer.
    """
    return _remembered(nvcc, "version", lambda: _version(nvcc))


def dry_run_text(nvcc: Path) -> str:
    """What nvcc prints as its variables and steps for an empty source; empty if it does not print them."""
    return _remembered(nvcc, "dryrun", lambda: _dry_run(nvcc))


def _version(nvcc: Path) -> str:
    done = subprocess.run(
        [str(nvcc), "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=_ANSWER_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout


def _dry_run(nvcc: Path) -> str:
    command = [str(nvcc), "--dryrun", "-cubin", "-o", os.devnull, "-x", "cu", os.devnull]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            env=for_nvcc(os.environ),
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return "" if done.returncode else done.stdout + done.stderr


def _remembered(nvcc: Path, question: str, ask: Callable[[], str]) -> str:
    program = Path(os.path.realpath(nvcc))
    if program.name != "nvcc" or not _is_compiled(program):
        return ask()
    profile = program.with_name("nvcc.profile")
    key = f"{question} {nvcc} {program} {_variables(profile, os.environ)}"

    def compute() -> tuple[str, Iterable[str]]:
        return ask(), [str(program), str(profile)]

    return remembered(hashlib.sha256(key.encode()).hexdigest(), compute)


def _is_compiled(program: Path) -> bool:
    try:
        with program.open("rb") as file:
            return file.read(len(_ELF)) == _ELF
    except OSError:
        return False


def _variables(profile: Path, environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """The variables of the environment that nvcc may read."""
    with contextlib.suppress(OSError):
        named = set(_WORD.findall(profile.read_text(errors="replace")))
        return sorted(each for each in environment.items() if each[0] in named or _OF_NVCC.fullmatch(each[0]))
    return sorted(environment.items())
