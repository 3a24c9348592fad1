"""Run a step of the compiler as nvcc runs it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from kregistry.compile.nvcc import Compiler
from kregistry.compile.shared.cannot_share import CannotShare


def run_step(compiler: Compiler, command: Sequence[str], scratch: Path, environment: Mapping[str, str]) -> str:
    """What the command prints.

    Raises:
        CannotShare: it is not there, or it failed.
    """
    code, text = compiler.run(find_program(command, environment), scratch, environment)
    if code:
        raise failed(code, text)
    return text


def failed(code: int, text: str) -> CannotShare:
    """A step that ended with this code and these words."""
    first = next((line for line in text.splitlines() if "error" in line), text.strip()[:200])
    return CannotShare(f"the shared front end failed: {first or f'exit code {code}'}")


def find_program(command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command with its program looked up where nvcc looks it up.

    Raises:
        CannotShare: it is not there.
    """
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise CannotShare(f"{command[0]} is not where nvcc looks for it")
    return [program, *command[1:]]
