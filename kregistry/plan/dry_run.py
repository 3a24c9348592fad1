"""The parent of a dry run: spreads the sweeps of a manifest over child processes and gathers what they find."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import define, field, frozen

from kregistry.errors import StorageError
from kregistry.events.planned import PlannedEntry, Refusal, Segment
from kregistry.kernel import Kernel
from kregistry.kernel_type import KernelType
from kregistry.manifest import Entry
from kregistry.stub.library import compile_stub
from kregistry.stub.pool import Children
from kregistry.stub.process import Child, NotPicklable, send_form
from kregistry.stub.recorded_kernel import read_recorded
from kregistry.stub.segments import Run, join
from kregistry.target import Target
from kregistry.toolchain import Toolchain

#: A range is cut into parts of at most so many values, so that all cores have work until the end.
_VALUES_PER_PART = 16384


@frozen
class Sweep:
    """One entry and the kernel type that it calls."""

    entry: Entry
    kernel_type: KernelType


@frozen
class _Part:
    sweep: int
    number: int
    values: range


@define
class _Outcome:
    """What is known of one sweep so far; its parts may end in any order."""

    parts: int
    segments: dict[int, list[Run]] = field(factory=dict)
    refusals: dict[int, list[Run]] = field(factory=dict)
    error: str = ""
    cublaslt: bool = False

    @property
    def complete(self) -> bool:
        return len(self.segments) == self.parts


class DryRun:
    """Runs sweeps on the stub GPU as one target.

    Args:
        toolchain: what the machine has.
        target: the GPU to be.
        stub_directory: where the compiled stub is kept.
        on_kernel: called once for each kernel, while sweeps go on, from a thread of the dry run.
        on_entry: called once for each entry, likewise.
    """

    def __init__(
        self,
        toolchain: Toolchain,
        target: Target,
        stub_directory: Path,
        on_kernel: Callable[[Kernel], None] = lambda kernel: None,
        on_entry: Callable[[PlannedEntry], None] = lambda entry: None,
    ) -> None:
        self.toolchain = toolchain
        self.target = target
        self.stub_directory = stub_directory
        self.on_kernel = on_kernel
        self.on_entry = on_entry
        self.kernels: dict[str, Kernel] = {}
        self._lock = threading.Lock()
        self._parts: deque[_Part] = deque()
        self._outcomes: list[_Outcome] = []
        self._entries: dict[int, PlannedEntry] = {}
        self._children: set[Child] = set()
        self._failure: BaseException | None = None

    def run(self, sweeps: Sequence[Sweep], processes: int) -> tuple[PlannedEntry, ...]:
        """The planned entries, in the order of the sweeps.

        Raises:
            MissingRequirement: torch or DeepGEMM cannot be loaded on the stub.
            StorageError: no temporary directory can be written.
        """
        if not sweeps:
            return ()
        for index, sweep in enumerate(sweeps):
            parts = list(_cut(index, sweep.entry.range.values()))
            self._outcomes.append(_Outcome(len(parts)))
            self._parts.extend(parts)
        # Short sweeps first: grouped kernels, which take the compiler longest, are met in the first second.
        self._parts = deque(sorted(self._parts, key=lambda part: len(part.values)))
        with _scratch_directory() as scratch, self.children(scratch) as children:
            count = max(1, min(processes, len(self._parts)))
            threads = [
                threading.Thread(target=self._serve, args=(sweeps, children, str(number)), daemon=True)
                for number in range(count)
            ]
            try:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            except BaseException as error:  # an interrupt: the children must not write any more
                self._fail(error)
                children.stop()
                for thread in threads:
                    if thread.ident is not None:
                        thread.join()
        if self._failure is not None:
            raise self._failure
        return tuple(self._entries[index] for index in range(len(sweeps)))

    def probe(self) -> None:
        """Load torch and DeepGEMM on the stub, and nothing more.

        Raises:
            MissingRequirement: they do not load.
            StorageError: no temporary directory can be written.
        """
        with _scratch_directory() as scratch, self.children(scratch) as children, children.start("0"):
            pass

    def children(self, directory: Path) -> Children:
        """What starts the child processes of this run, with their homes in a directory.

        Raises:
            MissingRequirement: the stub does not compile.
            StorageError: it cannot be written.
        """
        library = compile_stub(self.toolchain, self.stub_directory)
        return Children(self.target, self.toolchain, library, directory, self._found)

    def _serve(self, sweeps: Sequence[Sweep], children: Children, number: str) -> None:
        """One thread: a child process, and a new one whenever it dies, until no part is left."""
        try:
            generation = 0
            while self._parts and self._failure is None:
                child = children.start(f"{number}/{generation}")
                with self._lock:
                    self._children.add(child)
                    if self._failure is not None:
                        child.kill()
                try:
                    with child:
                        self._feed(child, sweeps)
                finally:
                    with self._lock:
                        self._children.discard(child)
                generation += 1
        except BaseException as error:  # handed to the caller of run()
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Remember the first error and end all children: what they find is of no use any more."""
        with self._lock:
            self._failure = self._failure or error
            for child in self._children:
                child.kill()

    def _feed(self, child: Child, sweeps: Sequence[Sweep]) -> None:
        while self._failure is None:
            try:
                part = self._parts.popleft()
            except IndexError:
                return
            answer = self._ask(child, sweeps[part.sweep], part)
            if self._failure is not None:
                return  # ended in the middle, which says nothing about the entry
            self._take(sweeps[part.sweep], part, answer, child)
            if not child.alive:
                return

    def _ask(self, child: Child, sweep: Sweep, part: _Part) -> dict[str, Any]:
        """The answer to one part; a child that dies over it answers with how it died."""
        nothing: dict[str, Any] = {"segments": [], "refusals": [], "cublaslt": False}
        try:
            kernel_type = send_form(sweep.kernel_type)
        except NotPicklable as error:
            text = f"the kernel type cannot be sent to the dry run, its class must be importable: {error}"
            return {**nothing, "error": text}
        values = part.values
        answer = child.ask(
            {
                "job": part.sweep,
                "kernel_type": kernel_type,
                "shape": dict(sweep.entry.shape),
                "start": values[0],
                "stop": values[-1],
                "step": values.step,
            }
        )
        return {**nothing, "error": child.death()} if answer is None else answer

    def _found(self, home: Path, cubin: Path) -> Kernel:
        """Register the kernel that a child has left at ``cubin``."""
        cuda = self.toolchain.cuda
        kernel = read_recorded(home, cubin, cuda.version, cuda.home)
        with self._lock:
            known = self.kernels.setdefault(kernel.id, kernel)
        if known is kernel:
            self.on_kernel(kernel)
        return known

    def _take(self, sweep: Sweep, part: _Part, answer: dict[str, Any], child: Child) -> None:
        with self._lock:
            outcome = self._outcomes[part.sweep]
            outcome.error = outcome.error or answer["error"]
            outcome.cublaslt = outcome.cublaslt or answer["cublaslt"]
            outcome.segments[part.number] = [
                Run(start, stop, tuple(child.kernels[index].id for index in libraries))
                for start, stop, libraries in answer["segments"]
            ]
            outcome.refusals[part.number] = [Run(*refusal) for refusal in answer["refusals"]]
            if not outcome.complete:
                return
        planned = _planned(sweep, outcome)
        self._entries[part.sweep] = planned
        self.on_entry(planned)


@contextmanager
def _scratch_directory() -> Iterator[Path]:
    try:
        directory = TemporaryDirectory(prefix="kregistry-plan-", ignore_cleanup_errors=True)
    except OSError as error:
        raise StorageError.from_oserror(error, "the directory for temporary files (TMPDIR)") from error
    with directory as name:
        yield Path(name)


def _cut(sweep: int, values: range) -> Iterator[_Part]:
    for number, first in enumerate(range(0, len(values), _VALUES_PER_PART)):
        yield _Part(sweep, number, values[first : first + _VALUES_PER_PART])


def _planned(sweep: Sweep, outcome: _Outcome) -> PlannedEntry:
    """The parts put together."""
    step = sweep.entry.range.step
    segments = tuple(
        Segment(run.start, run.stop, run.content)  # type: ignore[arg-type]
        for run in join((outcome.segments[number] for number in sorted(outcome.segments)), step)
    )
    refusals = tuple(
        Refusal(run.start, run.stop, str(run.content))
        for run in join((outcome.refusals[number] for number in sorted(outcome.refusals)), step)
    )
    planned = PlannedEntry(sweep.entry, segments, refusals, outcome.error)
    points = planned.launch_points()
    nbytes = sweep.kernel_type.memory_requirement(sweep.entry.shape, max(points)) if points else 0
    return PlannedEntry(sweep.entry, segments, refusals, outcome.error, nbytes, outcome.cublaslt)
