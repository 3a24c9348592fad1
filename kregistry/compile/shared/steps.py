"""Run a step of nvcc (preprocessor, front end, assembler) as nvcc itself runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from kregistry.compile.nvcc import Nvcc
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.python_child import find_program as find_on_path


def run_step(nvcc: Nvcc, command: Sequence[str], scratch: Path, environment: Mapping[str, str]) -> str:
    """Run a command and return what it prints.

    Raises:
        CannotShare: the program does not exist, or it failed.
    """
    code, text = nvcc.run(find_program(command, environment), scratch, environment)
    if code:
        raise failed(code, text)
    return text


def failed(code: int, text: str) -> CannotShare:
    """The error for a step that ended with this exit code and printed this text."""
    first = next((line for line in text.splitlines() if "error" in line), text.strip()[:200])
    return CannotShare(f"the shared front end failed: {first or f'exit code {code}'}")


def find_program(command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Replace the program of a command by its path, found where nvcc looks for it.

    Raises:
        CannotShare: the program does not exist.
    """
    program = find_on_path(command[0], {**os.environ, **environment})
    if program is None:
        raise CannotShare(f"{command[0]} is not where nvcc looks for it")
    return [program, *command[1:]]
