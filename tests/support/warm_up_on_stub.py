"""A serving process that warms up: MANIFEST STORE; prints what it and its observers saw, as JSON."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from events import EventLog

import kregistry
from kregistry import Dispatch, Registry
from kregistry.errors import UnseenCallError
from kregistry.events import WarmupOutcome
from kregistry.jit_monitor import JitMonitor
from kregistry.manifest import Entry, Manifest


class Observer:
    """Notes when it was called."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def warmed_up(self, manifest: Manifest, outcome: WarmupOutcome) -> None:
        in_callers_thread = threading.current_thread() is threading.main_thread()
        self.told.append([in_callers_thread, manifest.models[0], len(outcome.loaded)])


def main(manifest: str, store: str) -> None:
    registry, log, observer = Registry(), EventLog(), Observer()
    registry.listen(log)
    dispatch, monitor = Dispatch(registry), JitMonitor(registry, "count").start()
    report = kregistry.warmup(
        manifest,
        "tiny",
        registry=registry,
        target="detect",
        store=store,
        observers=[dispatch, monitor, observer],
    )
    report.raise_problems()
    registry.events.flush()
    build = report.build
    assert build is not None
    events = [[name, {key: str(value) for key, value in arguments.items()}] for name, arguments in log.calls]
    started = [name for name, _ in events].index("kregistry_warmup_started")
    answer = {
        "report": report.to_json(),
        "events": events[started:],
        "target": build.plan.target.name,
        "told": observer.told,
        "covered": covered(dispatch, registry, build.plan.entries[0].entry),
        "counts_loads": monitor._loads is not None,
    }
    monitor.stop()
    print(json.dumps(answer))


def covered(dispatch: Dispatch, registry: Registry, entry: Entry) -> list[bool]:
    """Whether the last run-time value of the entry is covered, and the one after it."""
    kernel_type = registry[entry.kernel_type]
    dispatch.watch("error")
    found = []
    for m in (entry.range.stop, entry.range.stop + 1):
        call = kernel_type.arguments(kernel_type.allocate_buffers(entry.shape, m, "cuda"), m)
        try:
            kernel_type(*call.args, **call.kwargs)
            found.append(True)
        except UnseenCallError:
            found.append(False)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
