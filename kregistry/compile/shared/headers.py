"""The headers of a family, parsed once: a front end that stops behind them, and forks for each group of kernels.

The front end runs as nvcc would run it, with a small library preloaded (``headers.c``). A fork starts where the headers
end, so it parses only its kernels. It writes what a separate front end would have written.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import resources
from pathlib import Path

from attrs import evolve

from kregistry.bounded_input import is_readable
from kregistry.compile.nvcc import LIMIT_SECONDS, Nvcc, scratch_directory
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.group_source import END_OF_HEADERS, KERNELS, group_source, table
from kregistry.compile.shared.kernel_family import KernelFamily
from kregistry.compile.shared.nvcc_dryrun import Commands, parse_dry_run
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
        kernels: str,
        process: subprocess.Popen[str],
        channel: socket.socket,
    ) -> None:
        self.commands = commands
        self._nvcc = nvcc
        self._kernels = kernels
        self._process = process
        self._channel = channel

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
        # Looked up here, where a missing assembler is only a reason to compile alone.
        commands = evolve(commands, assembler=tuple(find_program(commands.assembler, commands.environment)))
        with ThreadPoolExecutor(1) as meanwhile:
            library = meanwhile.submit(_build_library, nvcc, commands, scratch)
            run_step(nvcc, commands.preprocess, scratch, commands.environment)
        headers, end, kernels = Path(commands.preprocessed).read_text().partition(END_OF_HEADERS)
        if not end or kernels.count(KERNELS) != 1:
            raise CannotShare("the preprocessor left no place for the kernels")
        commands = commands.without_directory(scratch)
        (scratch / _HEADERS_FILE).write_text(headers)
        (scratch / _KERNELS_FILE).touch()  # must exist, and is never read
        files = (_HEADERS_FILE, _KERNELS_FILE)
        (scratch / commands.preprocessed).write_text("".join(f'#include "{name}"\n' for name in files))
        return _start(nvcc, commands, kernels, library.result(), scratch)


def _build_library(nvcc: Nvcc, commands: Commands, scratch: Path) -> Path:
    """Build the preloaded library with the host compiler, which also preprocesses the headers."""
    library = scratch / "headers.so"
    with resources.as_file(_LIBRARY) as source:
        build = [commands.preprocess[0], "-shared", "-fPIC", "-O1", "-x", "c", str(source), "-o", str(library), "-ldl"]
        run_step(nvcc, build, scratch, commands.environment)
    return library


def _start(nvcc: Nvcc, commands: Commands, kernels: str, library: Path, scratch: Path) -> Headers:
    command, log = find_program(commands.generate, commands.environment), scratch / "log"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    preloaded = commands.environment.get("LD_PRELOAD", os.environ.get("LD_PRELOAD"))
    environment = {
        **commands.environment,
        "LD_PRELOAD": f"{library}:{preloaded}" if preloaded else str(library),
        "KREGISTRY_KERNELS_FILE": _KERNELS_FILE,
        "KREGISTRY_HEADERS_SOCKET": str(theirs.fileno()),
    }
    with theirs, log.open("w") as output:
        process = nvcc.start(command, scratch, environment, output, cwd=scratch, pass_fds=[theirs.fileno()])
    if process is None:
        ours.close()
        raise CannotShare("stopped")
    headers = Headers(nvcc, commands, kernels, process, ours)
    if not is_readable(ours.fileno(), LIMIT_SECONDS):
        nvcc.kill(process)
    if ours.recv(16) != b"parsed":
        code = process.wait()
        headers.close()
        raise failed(code, _read(log)) if code else CannotShare(f"{command[0]} does not stop behind the headers")
    return headers


def _read(log: Path) -> str:
    with suppress(OSError):
        return log.read_text(errors="replace")
    return ""
