"""The headers of a family, parsed once: a front end that stops behind them, and forks for each group of kernels.

The front end runs as nvcc would run it, with a small library preloaded (``headers.c``), which lets it read the headers
while the preprocessor still writes them. A fork starts where the headers end, so it parses only its kernels. It writes
what a separate front end would have written.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import BinaryIO

from attrs import evolve

from kregistry.bounded_input import is_readable
from kregistry.compile.nvcc import LIMIT_SECONDS, Nvcc, scratch_directory
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.group_source import KERNELS, group_source, table
from kregistry.compile.shared.kernel_family import KernelFamily
from kregistry.compile.shared.nvcc_dryrun import Commands, parse_dry_run
from kregistry.compile.shared.preprocessor import Preprocessor
from kregistry.compile.shared.steps import failed, find_program, run_step

_LIBRARY = resources.files(__package__) / "headers.c"
_HEADERS_FILE, _KERNELS_FILE = "headers.ii", "kernels.ii"


class Headers:
    """A front end that has parsed headers and waits for kernels. Safe against threads.

    Attributes:
        commands: what nvcc would run for a kernel of the family; the front end's files are named without directory.
    """

    def __init__(
        self,
        nvcc: Nvcc,
        commands: Commands,
        process: subprocess.Popen[str],
        channel: socket.socket,
    ) -> None:
        self.commands = commands
        self._nvcc = nvcc
        self._process = process
        self._channel = channel
        self._kernels = ""

    def parse(self, preprocessor: Preprocessor, stream: BinaryIO, log: Path) -> None:
        """Pass on the headers, and wait until they are parsed.

        Args:
            preprocessor: gives the headers.
            stream: where the front end reads them; it is closed at their end.
            log: what the front end prints.

        Raises:
            CannotShare: preprocessor or front end fails, or the front end does not stop behind the headers.
        """
        with _time_limit(self._nvcc, self._process, preprocessor.process):
            with stream:
                preprocessor.copy_headers(stream)
            self._kernels = preprocessor.text_of_kernels()
            answer = self._channel.recv(16)
        if answer != b"parsed":
            code = self._process.wait()
            words = f"{self.commands.generate[0]} does not stop behind the headers"
            raise failed(code, _read(log)) if code else CannotShare(words)

    def generate(self, references: Sequence[str], scratch: Path) -> str:
        """Generate the PTX of kernels, in a scratch directory that is removed afterwards.

        Raises:
            CannotShare: the front end fails on one of them.
            StorageError: the scratch directory cannot be written.
        """
        scratch = scratch.absolute()  # the front end is in a directory of its own
        with scratch_directory(scratch):
            (scratch / _KERNELS_FILE).write_text(self._kernels.replace(KERNELS, table(references)))
            code = self._fork(scratch)
            if code != 0:
                raise failed(code, _read(scratch / "log"))
            ptx = scratch / self.commands.ptx
            if not ptx.exists():
                raise CannotShare("the front end left no PTX")
            return ptx.read_text()

    def hang_up(self) -> None:
        """Let the front end end by itself; :meth:`close` waits for that."""
        self._channel.close()

    def close(self) -> None:
        """End the front end when its forks have ended."""
        self.hang_up()
        self._process.wait()
        self._nvcc.ended(self._process)

    def _fork(self, scratch: Path) -> int:
        """Let a fork continue in a directory; returns its exit code."""
        receive, send = os.pipe()
        with os.fdopen(receive, "rb") as answer:
            try:
                socket.send_fds(self._channel, [os.fsencode(scratch)], [send])
            except OSError:  # the front end has died: the answer is then empty
                pass
            finally:
                os.close(send)
            if not is_readable(receive, LIMIT_SECONDS):
                self._nvcc.kill(self._process)  # it hangs, and its forks with it: now the answer is empty
            return int(answer.read() or -1)


def parse_headers(nvcc: Nvcc, family: KernelFamily, scratch: Path) -> Headers:
    """Start a front end and wait until it has parsed the headers; the scratch directory is removed afterwards.

    Raises:
        CannotShare: the headers of this family cannot be parsed once for all kernels.
        StorageError: the scratch directory cannot be written.
    """
    scratch = scratch.absolute()
    with scratch_directory(scratch):
        # The name of the source is part of file-local names, so it is the same as for a single kernel.
        source, output = scratch / "kernel.cu", scratch / "kernel.cubin"
        source.write_text(group_source(family.prologue))
        dry_run = [str(nvcc.path), *family.command.arguments(source, output), "--dryrun"]
        commands = parse_dry_run(run_step(nvcc, dry_run, scratch, {}), output)
        # Looked up here, where a missing program is only a reason to compile alone.
        programs = (find_program(each, commands.environment) for each in (commands.assembler, commands.generate))
        assembler, generate = map(tuple, programs)
        commands = evolve(commands, assembler=assembler, generate=generate)
        with Preprocessor(nvcc, commands, scratch) as preprocessor:
            library = _build_library(nvcc, commands, scratch)
            return _start(nvcc, commands.without_directory(scratch), preprocessor, library, scratch)


def _build_library(nvcc: Nvcc, commands: Commands, scratch: Path) -> Path:
    """Build the preloaded library with the host compiler, which also preprocesses the headers."""
    library = scratch / "headers.so"
    with resources.as_file(_LIBRARY) as source:
        build = [commands.preprocess[0], "-shared", "-fPIC", "-O1", "-x", "c", str(source), "-o", str(library), "-ldl"]
        run_step(nvcc, build, scratch, commands.environment)
    return library


def _start(nvcc: Nvcc, commands: Commands, preprocessor: Preprocessor, library: Path, scratch: Path) -> Headers:
    # Both must exist, and neither is read: the library has the headers from the stream, and a fork has its own kernels.
    files = (_HEADERS_FILE, _KERNELS_FILE)
    for name in files:
        (scratch / name).touch()
    (scratch / commands.preprocessed).write_text("".join(f'#include "{name}"\n' for name in files))
    log = scratch / "log"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    receive, send = os.pipe()
    preloaded = commands.environment.get("LD_PRELOAD", os.environ.get("LD_PRELOAD"))
    environment = {
        **commands.environment,
        "LD_PRELOAD": f"{library}:{preloaded}" if preloaded else str(library),
        "KREGISTRY_HEADERS_FILE": _HEADERS_FILE,
        "KREGISTRY_HEADERS_STREAM": str(receive),
        "KREGISTRY_KERNELS_FILE": _KERNELS_FILE,
        "KREGISTRY_HEADERS_SOCKET": str(theirs.fileno()),
    }
    with os.fdopen(send, "wb", buffering=0) as stream:
        with theirs, os.fdopen(receive), log.open("w") as output:
            command, passed = list(commands.generate), [receive, theirs.fileno()]
            process = nvcc.start(command, scratch, environment, output, cwd=scratch, pass_fds=passed)
        if process is None:
            ours.close()
            raise CannotShare("stopped")
        headers = Headers(nvcc, commands, process, ours)
        try:
            headers.parse(preprocessor, stream, log)
        except BaseException:
            headers.close()
            raise
    return headers


@contextmanager
def _time_limit(nvcc: Nvcc, *processes: subprocess.Popen[str]) -> Iterator[None]:
    """Kill processes that hang: who waits for them goes on, as if they had failed."""

    def kill() -> None:
        for each in processes:
            nvcc.kill(each)

    timer = threading.Timer(LIMIT_SECONDS, kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _read(log: Path) -> str:
    with suppress(OSError):
        return log.read_text(errors="replace")
    return ""
