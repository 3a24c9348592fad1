"""Calls of an engine that wait for a running build: it compiles their kernels first, and answers when they are there.

STARTS/NAME/calls/CALL.json     what the call needs: kernel type, shape, m; CALL is a digest of it
                  CALL.ready    exists once DeepGEMM finds the kernels of this call in its JIT cache
                  CALL.absent   exists if the build makes no kernel for this call: nothing is gained by waiting

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
    from kregistry.manifest import Entry
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
        a file that will exist once they are in place, unless :func:`is_absent` becomes true.

    Raises:
        OSError, StorageError: the folder cannot be written.
    """
    text = json.dumps(asdict(call), sort_keys=True).encode()
    path = start.directory / "calls" / f"{hashlib.sha256(text).hexdigest()[:16]}.json"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        atomic.replace_file(path, text, durable=False)
    return path.with_suffix(".ready")


def is_absent(answer: Path) -> bool:
    """Whether the build makes no kernel for the call of an answer that :func:`ask` has named."""
    return answer.with_suffix(".absent").exists()


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
        self._built: tuple[Entry, ...] | None = None
        self._planned: list[PlannedEntry] = []
        self._keys: dict[str, str] = {}
        self._in_place: set[str] = set()
        self._asked: set[str] = set()
        self._answered: set[Path] = set()
        registry.listen(self)

    def builds(self, entries: tuple[Entry, ...]) -> None:
        """From now on these entries are built. A call that none of them covers is told so at once."""
        self._built = entries

    @contextmanager
    def while_building(self) -> Iterator[None]:
        """Look for calls that wait, in a thread, for as long as the block runs."""
        ended = threading.Event()
        thread = threading.Thread(target=self._look, args=[ended], name="kregistry-calls", daemon=True)
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
            if path not in self._answered:
                try:
                    self._answer(path, WaitingCall(**json.loads(path.read_text())))
                except Exception:
                    log.exception("%s cannot be read: its call does not wait for this build", path)
                    self._end(path, ".absent")

    def _answer(self, path: Path, call: WaitingCall) -> None:
        kernels = self._kernels_of(call)
        if kernels is None:
            if self._is_absent(call):
                log.info("a call is outside what is built: %s", call)
                self._end(path, ".absent")
        elif self._in_place.issuperset(kernels):
            self._end(path, ".ready")
        elif not self._asked.issuperset(kernels):
            self._asked.update(kernels)
            log.info("a call waits for %s: compiled first", ", ".join(kernels))
            self._priorities.first([self._keys[each] for each in kernels if each in self._keys])

    def _end(self, path: Path, suffix: str) -> None:
        path.with_suffix(suffix).touch()
        self._answered.add(path)

    def _kernels_of(self, call: WaitingCall) -> Collection[str] | None:
        """The kernels of a call; ``None`` if no entry that has been planned has a kernel for it."""
        for planned in tuple(self._planned):
            if self._covers(planned.entry, call):
                for segment in planned.segments:
                    if segment.start <= call.m <= segment.stop:
                        return segment.kernels
        return None

    def _is_absent(self, call: WaitingCall) -> bool:
        """Whether none of the entries that are still to be planned covers a call."""
        if self._built is None:
            return False
        planned = {each.entry for each in tuple(self._planned)}
        return not any(entry not in planned and self._covers(entry, call) for entry in self._built)

    def _covers(self, entry: Entry, call: WaitingCall) -> bool:
        known = entry.kernel_type == call.kernel_type and entry.range.start <= call.m <= entry.range.stop
        return known and fits(self._registry[call.kernel_type], entry, call.shape, call.m)

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
