"""The preprocessor of a family's headers, which runs while the front end parses what it has written so far."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from kregistry.compile.nvcc import Nvcc
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.group_source import END_OF_HEADERS, KERNELS
from kregistry.compile.shared.nvcc_dryrun import Commands
from kregistry.compile.shared.steps import failed, find_program

_END = END_OF_HEADERS.encode()
_PIECE = 1 << 20


class Preprocessor:
    """A running preprocessor. It ends with the block that it is used in.

    Args:
        commands: what nvcc would run; the preprocessor writes to a pipe in place of its file.
        scratch: an existing directory.

    Attributes:
        process: the preprocessor.

    Raises:
        CannotShare: there is no such program, or no compiler starts any more.
    """

    def __init__(self, nvcc: Nvcc, commands: Commands, scratch: Path) -> None:
        program = find_program(commands.preprocess, commands.environment)
        self._nvcc = nvcc
        self._log = scratch / "preprocessor.log"
        self._rest = b""
        receive, send = os.pipe()
        self._text = os.fdopen(receive, "rb", buffering=0)
        command = [f"/dev/fd/{send}" if word == commands.preprocessed else word for word in program]
        with os.fdopen(send, "wb"), self._log.open("w") as log:
            process = nvcc.start(command, scratch, commands.environment, log, pass_fds=[send])
        if process is None:
            self._text.close()
            raise CannotShare("stopped")
        self.process: subprocess.Popen[str] = process

    def __enter__(self) -> Preprocessor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._text.close()
        if self.process.poll() is None:
            self._nvcc.kill(self.process)
        self.process.wait()
        self._nvcc.ended(self.process)

    def copy_headers(self, stream: BinaryIO) -> None:
        """Copy the text of the headers as it comes, up to the mark behind them.

        A reader that has ended gets nothing more: it is known by its exit code.
        """
        held = b""
        try:
            while piece := self._text.read(_PIECE):
                headers, mark, self._rest = (held + piece).partition(_END)
                held = b"" if mark else headers[-len(_END) :]
                _write(stream, headers[: len(headers) - len(held)])
                if mark:
                    return
            _write(stream, held)
        except BrokenPipeError:
            self._rest = b""

    def text_of_kernels(self) -> str:
        """Wait for the end; the text behind the headers, with a mark for the kernels.

        Raises:
            CannotShare: the preprocessor failed, or left no mark.
        """
        text = (self._rest + self._text.read()).decode(errors="replace")
        code = self.process.wait()
        if code:
            raise failed(code, self._log.read_text(errors="replace"))
        if text.count(KERNELS) != 1:
            raise CannotShare("the preprocessor left no place for the kernels")
        return text


def _write(stream: BinaryIO, text: bytes) -> None:
    """Write all of it; a pipe takes as much as it has room for."""
    while text:
        text = text[stream.write(text) :]
