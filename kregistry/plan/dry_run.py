"""A dry run: it spreads the sweeps of a manifest over processes on the stub GPU, and gathers what they find."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import evolve

from kregistry.events.planned import PlannedEntry
from kregistry.events.tasks import Task
from kregistry.full_disk import raise_if_full
from kregistry.kernel import Kernel
from kregistry.plan.sweep import Part, PartialEntry, Sweep, cut
from kregistry.stub.pickling import NotPicklable, pickle_kernel_type, why_not_importable
from kregistry.stub.pool import StubPool
from kregistry.stub.process import StubProcess
from kregistry.stub.protocol import Swept
from kregistry.target import Target
from kregistry.toolchain import Toolchain

#: What DeepGEMM writes for a kernel has some KiB.
_NEEDED_BYTES = 1 << 20


class DryRun:
    """Runs sweeps on the stub GPU as one target.

    Args:
        toolchain: the software of this machine.
        target: the GPU to plan for.
        stub_directory: where the compiled stub is kept.
        on_kernel: called once for each kernel, during the sweeps, from a thread of the dry run.
        on_entry: called once for each entry, likewise.
        on_task: called when a process starts or ends a task, likewise.
    """

    def __init__(
        self,
        toolchain: Toolchain,
        target: Target,
        stub_directory: Path,
        on_kernel: Callable[[Kernel], None] = lambda kernel: None,
        on_entry: Callable[[PlannedEntry], None] = lambda entry: None,
        on_task: Callable[[Task], None] = lambda task: None,
    ) -> None:
        self._on_task = on_task
        self.on_entry = on_entry
        self._pool = StubPool(toolchain, target, stub_directory, on_kernel)
        self._lock = threading.Lock()
        self._parts: deque[Part] = deque()
        self._partial: list[PartialEntry] = []
        self._planned: dict[int, PlannedEntry] = {}
        self._processes: set[StubProcess] = set()
        self._failure: BaseException | None = None

    @property
    def kernels(self) -> Mapping[str, Kernel]:
        """Every kernel found so far, by its id."""
        return self._pool.kernels

    def run(self, sweeps: Sequence[Sweep], processes: int) -> tuple[PlannedEntry, ...]:
        """The planned entries, in the order of the sweeps.

        Raises:
            MissingRequirement: torch or DeepGEMM cannot be loaded on the stub.
            StorageError: no temporary directory can be written.
        """
        if not sweeps:
            return ()
        self._parts = deque(cut(sweeps))
        parts = Counter(part.sweep for part in self._parts)
        self._partial = [PartialEntry(sweep, parts[index]) for index, sweep in enumerate(sweeps)]
        with self._pool:
            count = max(1, min(processes, len(self._parts)))
            threads = [
                threading.Thread(target=self._serve, args=(str(number),), daemon=True) for number in range(count)
            ]
            try:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            except BaseException as error:  # an interrupt: the processes must not write any more
                self._fail(error)
                self._pool.stop()
                for thread in threads:
                    if thread.ident is not None:
                        thread.join()
        if self._failure is not None:
            raise self._failure
        return tuple(self._planned[index] for index in range(len(sweeps)))

    def _serve(self, number: str) -> None:
        """One thread: it keeps one process, and starts a new one whenever it dies, until no part is left."""
        try:
            generation = 0
            while self._parts and self._failure is None:
                with self._task("start", "torch and DeepGEMM", number):
                    process = self._pool.start(f"{number}/{generation}")
                with self._lock:
                    self._processes.add(process)
                    if self._failure is not None:
                        process.kill()
                try:
                    with process:
                        self._feed(process, number)
                finally:
                    with self._lock:
                        self._processes.discard(process)
                generation += 1
        except BaseException as error:  # handed to the caller of run()
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Remember the first error and end all processes: their results are not needed any more."""
        with self._lock:
            self._failure = self._failure or error
            for process in self._processes:
                process.kill()

    def _feed(self, process: StubProcess, number: str) -> None:
        while self._failure is None and process.alive:
            try:
                part = self._parts.popleft()
            except IndexError:
                return
            sweep = self._partial[part.sweep].sweep
            with self._task("plan", sweep.entry.label or sweep.entry.kernel_type, number):
                answer = _ask(process, sweep, part)
            if self._failure is not None:
                return  # ended in the middle, which says nothing about the entry
            if answer.error or answer.refusals:
                said = "\n".join([answer.error, *(str(refusal.content) for refusal in answer.refusals)])
                raise_if_full(process.home, _NEEDED_BYTES, said.strip())
            self._take(part, answer, process.kernels)

    @contextmanager
    def _task(self, stage: str, text: str, number: str) -> Iterator[None]:
        task = Task(stage, text, f"planner {int(number) + 1}", (), time.time())
        self._on_task(task)
        started = time.perf_counter()
        try:
            yield
        finally:
            self._on_task(evolve(task, seconds=time.perf_counter() - started))

    def _take(self, part: Part, answer: Swept, kernels: Mapping[int, str]) -> None:
        partial = self._partial[part.sweep]
        with self._lock:
            partial.add(part.number, answer, kernels)
            if not partial.complete:
                return
        self._planned[part.sweep] = planned = partial.planned()
        self.on_entry(planned)


def _ask(process: StubProcess, sweep: Sweep, part: Part) -> Swept:
    """The answer to one part; if the process dies over it, the error says how."""
    try:
        kernel_type = pickle_kernel_type(sweep.kernel_type)
    except NotPicklable as error:
        return Swept(error=f"the kernel type cannot be sent to the dry run, its class must be importable: {error}")
    answer = process.ask(part.job(sweep.entry, kernel_type))
    if answer is None:
        return Swept(error=process.death())
    return answer if answer.loaded else evolve(answer, error=why_not_importable(sweep.kernel_type, answer.error))
