"""Calls of an engine that wait for a running build: it compiles their kernels first, and answers when they are there.

STARTS/NAME/calls/CALL.json     what the call needs: kernel type, shape, m; CALL is a digest of it
                  CALL.ready    exists once DeepGEMM finds the kernels of this call in its JIT cache

Several ranks that wait for the same call share one request and one answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import asdict, frozen

from kregistry.hookspecs import hookimpl
from kregistry.integrations.start_folder import StartFolder
from kregistry.kernel_type import Value
from kregistry.serving.coverage import fits
from kregistry.store import atomic
from kregistry.store.listing import matching

if TYPE_CHECKING:  # the engine's processes ask, and need none of these
    from kregistry.compile.priorities import Priorities
    from kregistry.events import CompiledKernel, FailedKernel, PlannedEntry
    from kregistry.kernel import Kernel
    from kregistry.registry import Registry

log = logging.getLogger("kregistry.integrations")

_LOOK_EVERY = 0.05


@frozen
class WaitingCall:
    """What a call needs.

    Attributes:
        kernel_type: its name.
        shape: the dimensions that the call shows.
        m: the run-time value.
    """

    kernel_type: str
    shape: Mapping[str, Value]
    m: int


def ask(start: StartFolder, call: WaitingCall) -> Path:
    """Ask the build of a start for the kernels of a call.

    Returns:
        a file that will exist once they are in place. It never does if the call is not in the manifest of the start.

    Raises:
        OSError, StorageError: the folder cannot be written.
    """
    text = json.dumps(asdict(call), sort_keys=True).encode()
    path = start.directory / "calls" / f"{hashlib.sha256(text).hexdigest()[:16]}.json"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        atomic.replace_file(path, text)
    return path.with_suffix(".ready")


class AnswersCalls:
    """A listener of the build process: finds the kernels of each call that waits, and has them compiled first.

    Args:
        registry: tells which entry of the manifest covers a call.
        priorities: those of the build.
    """

    def __init__(self, start: StartFolder, registry: Registry, priorities: Priorities) -> None:
        self._directory = start.directory / "calls"
        self._registry = registry
        self._priorities = priorities
        self._planned: list[PlannedEntry] = []
        self._keys: dict[str, str] = {}
        self._in_place: set[str] = set()
        self._asked: set[str] = set()
        self._answered: set[Path] = set()

    @contextmanager
    def while_building(self) -> Iterator[None]:
        """Look for calls that wait, in a thread, for as long as the block runs."""
        ended = threading.Event()
        thread = threading.Thread(target=self._look, args=[ended], name="kregistry-calls", daemon=True)
        self._registry.listen(self)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _look(self, ended: threading.Event) -> None:
        try:
            while not ended.wait(_LOOK_EVERY):
                self.answer()
        except Exception:
            log.exception("calls that wait are not answered: they wait for the whole build")

    def answer(self) -> None:
        """Answer the calls whose kernels are in place, and have those of the others compiled first."""
        for path in matching(self._directory, "*.json"):
            if path in self._answered:
                continue
            kernels = self._kernels_of(WaitingCall(**json.loads(path.read_text())))
            if kernels is None:  # not planned yet
                continue
            if self._in_place.issuperset(kernels):
                path.with_suffix(".ready").touch()
                self._answered.add(path)
            elif not self._asked.issuperset(kernels):
                self._asked.update(kernels)
                log.info("a call waits for %s: compiled first", ", ".join(kernels))
                self._priorities.first([self._keys[each] for each in kernels if each in self._keys])

    def _kernels_of(self, call: WaitingCall) -> Collection[str] | None:
        kernel_type = self._registry[call.kernel_type]
        for planned in tuple(self._planned):
            if planned.entry.kernel_type == call.kernel_type and fits(kernel_type, planned.entry, call.shape, call.m):
                for segment in planned.segments:
                    if segment.start <= call.m <= segment.stop:
                        return segment.kernels
        return None

    @hookimpl
    def kregistry_kernel_planned(self, kernel: Kernel) -> None:
        self._keys[kernel.id] = kernel.key

    @hookimpl
    def kregistry_entry_planned(self, entry: PlannedEntry) -> None:
        self._planned.append(entry)

    @hookimpl
    def kregistry_kernel_found(self, kernel: Kernel) -> None:
        self._in_place.add(kernel.id)

    @hookimpl
    def kregistry_kernel_compiled(self, kernel: Kernel, compiled: CompiledKernel) -> None:
        self._in_place.add(kernel.id)

    @hookimpl
    def kregistry_kernel_failed(self, kernel: Kernel, failed: FailedKernel) -> None:
        self._in_place.add(kernel.id)  # nothing is gained by waiting
