"""The steps of an nvcc command, as ``nvcc --dryrun`` prints them: preprocessor and cicc to PTX, ptxas to a cubin.

This module knows neither the programs nor their options, except ``-o``. The first command must write a file that the
second one reads; the last one must read one ``.ptx`` that an earlier one wrote, and write the output. Anything else is
refused.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve, frozen

from kregistry.compile.shared.cannot_share import CannotShare

_MARK = "#$ "
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


@frozen
class Commands:
    """The commands that nvcc would run.

    Attributes:
        environment: variables that nvcc sets for its steps.
        preprocess: the preprocessor, from the source to ``preprocessed``.
        generate: the front end, from ``preprocessed`` to ``ptx``.
        preprocessed: the file between preprocessor and front end.
        ptx: the file between front end and assembler.
        assembler: the assembler, from ``ptx`` to ``output``.
        output: the file that the assembler writes.
    """

    environment: Mapping[str, str]
    preprocess: tuple[str, ...]
    generate: tuple[str, ...]
    preprocessed: str
    ptx: str
    assembler: tuple[str, ...]
    output: str

    def assemble(self, ptx: Path, output: Path) -> list[str]:
        """The assembler's command for other files."""
        files = {self.ptx: str(ptx), self.output: str(output)}
        return [files.get(argument, argument) for argument in self.assembler]

    def without_directory(self, directory: Path) -> Commands:
        """Name the front end's files without their directory, so that it can run in any directory.

        Raises:
            CannotShare: its input or its output is not in ``directory``.
        """
        prefix = f"{directory}/"
        if not (self.preprocessed.startswith(prefix) and self.ptx.startswith(prefix)):
            raise CannotShare(f"nvcc puts {self.preprocessed} or {self.ptx} elsewhere than asked for")
        return evolve(
            self,
            generate=tuple(word.removeprefix(prefix) for word in self.generate),
            preprocessed=self.preprocessed.removeprefix(prefix),
            assembler=tuple(word.removeprefix(prefix) if word == self.ptx else word for word in self.assembler),
            ptx=self.ptx.removeprefix(prefix),
        )


def parse_dry_run(text: str, output: Path) -> Commands:
    """Parse what ``nvcc --dryrun`` printed for a command that writes ``output``.

    Raises:
        CannotShare: nvcc's steps are not a preprocessor, a front end that ends with PTX, and one assembler.
    """
    environment: dict[str, str] = {}
    commands: list[tuple[str, ...]] = []
    for line in text.splitlines():
        if not line.startswith(_MARK):
            raise CannotShare(f"nvcc --dryrun says {line[:100]!r}")
        content = line[len(_MARK) :].strip()
        if assignment := _ASSIGNMENT.fullmatch(content):
            environment[assignment[1]] = assignment[2]
        else:
            commands.append(tuple(_expand(word, environment) for word in shlex.split(content)))
    if len(commands) != 3:
        raise CannotShare(
            f"nvcc --dryrun names {len(commands)} commands: {shlex.join(commands[-1] if commands else ())[:200]}"
        )
    preprocess, generate, assembler = commands
    ptx = [word for word in assembler if word.endswith(".ptx")]
    if len(ptx) != 1 or assembler.count(str(output)) != 1 or generate.count(ptx[0]) != 1:
        raise CannotShare(f"the last command of nvcc is not an assembler: {shlex.join(assembler)[:200]}")
    if str(output) in (*preprocess, *generate):
        raise CannotShare("a command before the last writes the output")
    preprocessed = [word for flag, word in itertools.pairwise(preprocess) if flag == "-o" and generate.count(word) == 1]
    if len(preprocessed) != 1:
        raise CannotShare(f"the first command of nvcc is not a preprocessor: {shlex.join(preprocess)[:200]}")
    return Commands(environment, preprocess, generate, preprocessed[0], ptx[0], assembler, str(output))


def _expand(word: str, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in environment:
            raise CannotShare(f"nvcc --dryrun uses a variable that it does not set: {word}")
        return environment[name]

    return _VARIABLE.sub(value, word)
