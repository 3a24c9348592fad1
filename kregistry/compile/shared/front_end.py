"""The shared front end: it generates PTX for several kernels of a family at once; then each is assembled separately."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, field, frozen

from kregistry.compile.nvcc import Compilation, Nvcc, scratch_directory
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.headers import Headers
from kregistry.compile.shared.kernel_family import Member
from kregistry.compile.shared.nvcc_dryrun import Commands
from kregistry.compile.shared.ptx import split_ptx
from kregistry.store.cubin import single_kernel


@frozen
class Piece:
    """The PTX of one kernel.

    Attributes:
        symbol: mangled name of its only entry.
        seconds: the kernel's share of the front end's duration.
        commands: the commands by which nvcc would continue from the PTX.
    """

    text: str = field(repr=False)
    symbol: str
    seconds: float
    commands: Commands = field(repr=False)


@frozen
class FrontEndResult:
    """The result of a front-end run.

    Attributes:
        pieces: PTX by the key of its kernel.
        refused: reasons why a kernel has no PTX of its own, by the key of the kernel.
        seconds: duration of the run.
    """

    pieces: Mapping[str, Piece]
    refused: Mapping[str, str]
    seconds: float


def run_front_end(headers: Headers, members: Sequence[Member], scratch: Path) -> FrontEndResult:
    """Generate PTX for kernels of the headers' family, in a scratch directory that is removed afterwards.

    Raises:
        CannotShare: these kernels cannot share a front end, or it fails on one of them.
        StorageError: the scratch directory cannot be written.
    """
    started = time.perf_counter()
    pieces = split_ptx(headers.generate([member.reference for member in members], scratch))
    if len(pieces.order) != len(members):
        raise CannotShare(f"the table names {len(pieces.order)} entries for {len(members)} kernels")
    seconds = time.perf_counter() - started
    symbols = {member.kernel.key: symbol for member, symbol in zip(members, pieces.order)}
    return FrontEndResult(
        {
            key: Piece(pieces.texts[symbol], symbol, seconds / len(members), headers.commands)
            for key, symbol in symbols.items()
            if symbol in pieces.texts
        },
        {key: pieces.refused[symbol] for key, symbol in symbols.items() if symbol in pieces.refused},
        seconds,
    )


def assemble(nvcc: Nvcc, piece: Piece, scratch: Path) -> Compilation:
    """Assemble the PTX of one kernel; ``seconds`` of the result is the assembler's duration.

    Raises:
        StorageError: the scratch directory cannot be written.
    """
    with scratch_directory(scratch):
        ptx, output = scratch / "kernel.ptx", scratch / "kernel.cubin"
        ptx.write_text(piece.text)
        command = piece.commands.assemble(ptx, output)
        made = nvcc.make(command, output, scratch, piece.commands.environment)
    if not made.failure and single_kernel(made.cubin) != piece.symbol:
        return evolve(made, failure=f"the cubin holds {single_kernel(made.cubin)} instead of {piece.symbol}")
    return made
