"""What happens to calls that no manifest covered: a log line, a file for the next start, a build in the background."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence

from kregistry.integrations.build_ahead import start_build, wait_for_build
from kregistry.integrations.remembered_calls import as_line, remember
from kregistry.integrations.start_folder import StartFolder
from kregistry.integrations.switches import log_failure
from kregistry.kernel_type.display import show_shape
from kregistry.manifest import Entry, Manifest
from kregistry.store import Store

log = logging.getLogger("kregistry.integrations")

_MISSING = (
    "kregistry: %s %s at %s %d was in no manifest: DeepGEMM compiles its kernel now, the rest of its range is built in "
    "the background. To build it before the start, add: %s"
)


class MissingCalls:
    """The calls of one process that no manifest covered.

    Args:
        store: calls are remembered beside it.
        key: the model, see :func:`~kregistry.integrations.remembered_calls.model_key`; without one nothing is
            remembered.
    """

    def __init__(self, store: Store, key: str = "") -> None:
        self._store = store
        self.key = key
        self._waiting: queue.Queue[Entry] = queue.Queue()
        self._builder: threading.Thread | None = None
        self._reported: set[Entry] = set()

    def while_starting(self, entries: Sequence[Entry]) -> None:
        """The first call has warmed up these entries."""
        self._remember(entries)

    def while_building(self, entries: Sequence[Entry], m: int) -> None:
        """A call waits for DeepGEMM to compile its kernel. A build process makes the rest, which is remembered here."""
        new = [entry for entry in entries if entry not in self._reported]
        self._reported.update(new)
        self._remember(new)
        for entry in new:
            log.info(_MISSING, *_words(entry, m), as_line(entry))

    def in_live_traffic(self, entries: Sequence[Entry], m: int) -> None:
        """A request waits for DeepGEMM to compile the one kernel that it needs, if no one has built it.

        The rest of the entries is built by a process of its own, one after another.
        """
        for entry in entries:
            log.warning(_MISSING, *_words(entry, m), as_line(entry))
            self._waiting.put(entry)
        self._remember(entries)
        if self._builder is None and entries:
            self._builder = threading.Thread(target=self._build, name="kregistry-missing", daemon=True)
            self._builder.start()

    def _remember(self, entries: Sequence[Entry]) -> None:
        for entry in entries if self.key else ():
            try:
                remember(self._store, self.key, entry)
            except Exception as error:
                log.warning("kregistry cannot remember a call for the next start: %s", error)

    def _build(self) -> None:
        from kregistry.integrations.automatic_manifest import manifest_text  # most servers never need it

        while True:
            entries = [self._waiting.get()]
            while not self._waiting.empty():
                entries.append(self._waiting.get())
            try:
                start = StartFolder.create(self._store)
                manifest = Manifest("live", entries[0].shape.target, ("live",), tuple(dict.fromkeys(entries)), {})
                start.write_manifest(manifest_text(manifest), manifest.target)
                start_build(start, {})
                status = wait_for_build(start)
                log.info("kregistry: built in the background: %s, %d kernels", status.state, status.kernels)
            except Exception as error:
                log_failure("kregistry cannot build in the background: DeepGEMM compiles on demand", error)


def _words(entry: Entry, m: int) -> tuple[str, str, str, int]:
    return entry.kernel_type, show_shape(entry.shape.shown()), entry.range.name, m
