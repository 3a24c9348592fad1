"""The shared front end itself: several kernels of a family to PTX in one go, then each to a cubin of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, field, frozen

from kregistry.build.compiler import Compilation, Compiler, scratch_directory
from kregistry.build.front_end.commands import Commands, parse_dry_run
from kregistry.build.front_end.family import Member
from kregistry.build.front_end.not_understood import NotUnderstood
from kregistry.build.front_end.preprocessed import Preprocessed
from kregistry.build.front_end.ptx import split_ptx
from kregistry.cache.cubin import single_kernel


@frozen
class Piece:
    """The PTX of one kernel.

    Attributes:
        symbol: mangled name of its one entry.
        seconds: its share of the front end's time.
        commands: how nvcc would go on from here.
    """

    text: str = field(repr=False)
    symbol: str
    seconds: float
    commands: Commands = field(repr=False)


@frozen
class FrontEndResult:
    """What a shared front end made, by kernel key: pieces, and reasons why a kernel has none."""

    pieces: Mapping[str, Piece]
    refused: Mapping[str, str]
    seconds: float


def run_front_end(
    compiler: Compiler, members: Sequence[Member], scratch: Path, headers: Preprocessed
) -> FrontEndResult:
    """PTX for each member of one family, in a scratch directory that is removed again.

    Raises:
        NotUnderstood: these kernels cannot share a front end, or it fails on one of them.
        StorageError: the scratch directory cannot be written.
    """
    family = members[0].family
    started = time.perf_counter()
    with scratch_directory(scratch):
        # The name of the source is part of file-local names: the same as for one kernel.
        source, output = scratch / "kernel.cu", scratch / "kernel.cubin"
        nvcc = [str(compiler.nvcc), *family.command.arguments(source, output), "--dryrun"]
        source.touch()
        commands = parse_dry_run(_checked(compiler, nvcc, scratch, {}), output)
        # Here, where its absence is no more than a reason to compile alone.
        commands = evolve(commands, assembler=tuple(_found(commands.assembler, commands.environment)))

        def run(command: Sequence[str]) -> None:
            _checked(compiler, _found(command, commands.environment), scratch, commands.environment)

        def preprocess() -> str:
            run(commands.front_end[0])
            return Path(commands.preprocessed).read_text()

        text = headers.text(family, [member.reference for member in members], source, preprocess)
        Path(commands.preprocessed).write_text(text)
        for command in commands.front_end[1:]:
            run(command)
        ptx = Path(commands.ptx)
        if not ptx.exists():
            raise NotUnderstood("the front end left no PTX")
        pieces = split_ptx(ptx.read_text())
    if len(pieces.order) != len(members):
        raise NotUnderstood(f"the table names {len(pieces.order)} entries for {len(members)} kernels")
    seconds = time.perf_counter() - started
    symbols = {member.kernel.key: symbol for member, symbol in zip(members, pieces.order)}
    return FrontEndResult(
        {
            key: Piece(pieces.texts[symbol], symbol, seconds / len(members), commands)
            for key, symbol in symbols.items()
            if symbol in pieces.texts
        },
        {key: pieces.refused[symbol] for key, symbol in symbols.items() if symbol in pieces.refused},
        seconds,
    )


def assemble(compiler: Compiler, piece: Piece, scratch: Path) -> Compilation:
    """The cubin of one kernel from its PTX; ``seconds`` is the assembler's time.

    Raises:
        StorageError: the scratch directory cannot be written.
    """
    with scratch_directory(scratch):
        ptx, output = scratch / "kernel.ptx", scratch / "kernel.cubin"
        ptx.write_text(piece.text)
        command = piece.commands.assemble(ptx, output)
        made = compiler.make(command, output, scratch, piece.commands.environment)
    if not made.failure and single_kernel(made.cubin) != piece.symbol:
        return evolve(made, failure=f"the cubin holds {single_kernel(made.cubin)} instead of {piece.symbol}")
    return made


def _checked(compiler: Compiler, command: list[str], scratch: Path, environment: Mapping[str, str]) -> str:
    """The output of a command.

    Raises:
        NotUnderstood: it failed.
    """
    code, text = compiler.run(command, scratch, environment)
    if code:
        first = next((line for line in text.splitlines() if "error" in line), text.strip()[:200])
        raise NotUnderstood(f"the shared front end failed: {first or f'exit code {code}'}")
    return text


def _found(command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command with its program looked up where nvcc looks it up."""
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise NotUnderstood(f"{command[0]} is not where nvcc looks for it")
    return [program, *command[1:]]
