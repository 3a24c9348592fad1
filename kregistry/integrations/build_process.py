"""The build process of a start: plans and builds the kernels of a model while the engine loads its weights.

It is a process of its own, so that it holds neither the engine's interpreter lock nor a CUDA context, and it ends when
the process that has started it ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from attrs import evolve

from kregistry.integrations.phases import PHASES
from kregistry.integrations.start_folder import StartFolder, Status
from kregistry.integrations.waiting_calls import AnswersCalls
from kregistry.manifest import Manifest
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.target import Target
from kregistry.warm_up.prepared_plan import surroundings
from kregistry.warm_up.warm_up import PreparedWarmup, prepare_warmup

log = logging.getLogger("kregistry.integrations")

#: The engine's own threads come first.
_NICE = 5


def main() -> None:
    """Build what the folder in the first argument asks for; its status says how that went."""
    start = StartFolder(Path(sys.argv[1]))
    started = time.monotonic()
    PHASES.write_to(start.directory)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_end_with_the_engine, daemon=True).start()
    os.nice(_NICE)
    status = Status("planning", os.getpid())
    start.write_status(status)
    try:
        found = _build(start)
    except Exception as error:
        log.exception("the build ahead of the first call has failed")
        status = evolve(status, state="failed", text=str(error) or type(error).__name__)
    else:
        status = evolve(found, state="done", pid=status.pid)
    start.write_status(evolve(status, seconds=round(time.monotonic() - started, 3)))


def _end_with_the_engine() -> None:
    """Our standard input is a pipe that nobody writes to: it ends when the engine does, however that was."""
    while os.read(0, 1):  # not sys.stdin, whose lock would be held when the interpreter ends
        pass
    for pid in (*_descendants(os.getpid()), os.getpid()):  # the compilers too, which have groups of their own
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = children.get(pid, [])
    for each in found:  # it grows meanwhile
        found.extend(children.get(each, ()))
    return found


def _build(start: StartFolder) -> Status:
    """Make the manifest, and build it."""
    from kregistry.integrations.automatic_manifest import manifest_for, manifest_text
    from kregistry.integrations.device_query import query_target

    with PHASES.phase("kernel types"):
        registry, store = Registry(), Store.default()
    request = start.read_request()
    if request is None:  # calls in live traffic: the manifest is there already
        manifest = read_manifest(start, registry)
    else:
        with PHASES.phase("the GPU"):
            target = query_target()
        with PHASES.phase("manifest"):
            manifest = manifest_for(request, registry, store, target)
        start.write_manifest(manifest_text(manifest), target)
        manifest = read_manifest(start, registry)
    if not manifest.entries:
        return Status("done", 0)
    prepared = _prepare(manifest, registry, store, start)
    bad = _unplannable(prepared)
    if bad:
        # A plan with problems is made again by every start and by every rank: so it is made without them.
        log.warning("left out: %s", "; ".join(bad.values()))
        entries = tuple(entry for entry in manifest.entries if str(entry) not in bad)
        rest = evolve(manifest, entries=entries)
        start.write_manifest(manifest_text(rest), manifest.target)
        built = len(prepared.report.compiled) if prepared.report else 0
        if not entries:
            return Status("done", 0, built=built, left_out=tuple(bad.values()))
        prepared = _prepare(read_manifest(start, registry), registry, store, start)
        return _status(prepared, built, tuple(bad.values()))
    report = prepared.report
    log.info("%s", f"{len(report.compiled)} built in {report.seconds:.2f} s" if report else "all were ready")
    return _status(prepared, len(report.compiled) if report else 0)


def _status(prepared: PreparedWarmup, built: int, left_out: tuple[str, ...] = ()) -> Status:
    plan = str(prepared.path) if prepared.path.exists() and prepared.plan.build.complete else ""
    around = surroundings(prepared.plan, prepared.jit_cache)
    return Status("done", 0, prepared.plan.total, built, left_out=left_out, plan=plan, surroundings=around)


def _prepare(manifest: Manifest, registry: Registry, store: Store, start: StartFolder) -> PreparedWarmup:
    from kregistry.compile.priorities import Priorities

    priorities = Priorities()
    with (
        PHASES.phase("plan and build"),
        AnswersCalls(start, registry.choosing(manifest.providers), priorities).while_building(),
    ):
        return prepare_warmup(manifest, registry=registry, store=store, priorities=priorities)


def _unplannable(prepared: PreparedWarmup) -> dict[str, str]:
    """Entry -> what is wrong, of the entries that DeepGEMM's host code refuses at some run-time value."""
    if prepared.report is None:
        return {}
    found = {str(planned.entry): planned.problems() for planned in prepared.report.plan.entries}
    return {entry: "; ".join(problems) for entry, problems in found.items() if problems}


def read_manifest(start: StartFolder, registry: Registry) -> Manifest:
    """What is built; equal in every process that reads it.

    Raises:
        KregistryError, OSError: the folder is damaged.
    """
    from kregistry.manifest import load_manifest

    target: Target = start.read_target()
    return load_manifest(start.manifest, registry, target)
