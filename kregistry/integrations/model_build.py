"""Plans and builds the manifest of a start, in its build process."""

from __future__ import annotations

import logging

from attrs import evolve

from kregistry.compile.priorities import Priorities
from kregistry.integrations.automatic_manifest import manifest_for, manifest_text
from kregistry.integrations.device_query import query_target
from kregistry.integrations.phases import PHASES
from kregistry.integrations.remembered_calls import model_key, remembered
from kregistry.integrations.start_folder import Request, StartFolder, Status
from kregistry.integrations.waiting_calls import AnswersCalls
from kregistry.manifest import Manifest, load_manifest
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.warm_up.prepare import PreparedWarmup, prepare_warmup
from kregistry.warm_up.prepared_plan import surroundings

log = logging.getLogger("kregistry.integrations")


def build_model(start: StartFolder) -> Status:
    """Build what the folder of a start asks for; the folder then holds the manifest of it.

    Raises:
        Exception: of any kind; nothing more is built then.
    """
    with PHASES.phase("kernel types"):
        registry, store = Registry(), Store.default()
    request = start.read_request()
    if request is None:  # calls in live traffic: the manifest is there already
        manifest = read_manifest(start, registry)
        return _Build(start, registry.choosing(manifest.providers), store).run(manifest)
    return _build_for(request, start, registry, store)


def _build_for(request: Request, start: StartFolder, registry: Registry, store: Store) -> Status:
    """Make the manifest of a model and build it; then once more, with the calls that were remembered meanwhile."""
    with PHASES.phase("the GPU"):
        target = query_target()
    build: _Build | None = None
    built, key = 0, model_key(request)
    while True:
        known = list(remembered(store, key))
        with PHASES.phase("manifest"):
            unused: list[str] = []
            made = manifest_for(request, registry, store, target, unused.append)
            for each in unused:
                log.warning("%s", each)
            start.write_manifest(manifest_text(made), target)
            manifest = read_manifest(start, registry)
        build = build or _Build(start, registry.choosing(manifest.providers), store)
        status = build.run(manifest)
        built += status.built
        if list(remembered(store, key)) == known:
            return evolve(status, built=built, unused=tuple(unused))
        log.info("calls outside the manifest were met meanwhile: they are built now")


class _Build:
    """The builds of one process: calls of the engine that wait are answered meanwhile."""

    def __init__(self, start: StartFolder, registry: Registry, store: Store) -> None:
        self._start, self._registry, self._store = start, registry, store
        self._priorities = Priorities()
        self._answers = AnswersCalls(start, registry, self._priorities)

    def run(self, manifest: Manifest) -> Status:
        """Build a manifest. Entries that cannot be planned are left out, also of the file."""
        if not manifest.entries:
            return Status("done", 0)
        prepared = self._prepare(manifest)
        bad = _unplannable(prepared)
        if not bad:
            return _status(prepared)
        # A plan with problems is made again by every start and by every rank: so it is made without them.
        log.warning("left out: %s", "; ".join(bad.values()))
        entries = tuple(entry for entry in manifest.entries if str(entry) not in bad)
        self._start.write_manifest(manifest_text(evolve(manifest, entries=entries)), manifest.target)
        rest = _status(self._prepare(read_manifest(self._start, self._registry))) if entries else Status("done", 0)
        built = len(prepared.report.compiled) if prepared.report else 0
        return evolve(rest, built=built + rest.built, left_out=tuple(bad.values()))

    def _prepare(self, manifest: Manifest) -> PreparedWarmup:
        self._answers.builds(manifest.entries)
        with PHASES.phase("plan and build"), self._answers.while_building():
            prepared = prepare_warmup(manifest, registry=self._registry, store=self._store, priorities=self._priorities)
        report = prepared.report
        log.info("%s", f"{len(report.compiled)} built in {report.seconds:.2f} s" if report else "all were ready")
        return prepared


def _status(prepared: PreparedWarmup) -> Status:
    report = prepared.report
    plan = str(prepared.path) if prepared.path.exists() and prepared.plan.build.complete else ""
    around = surroundings(prepared.plan, prepared.jit_cache)
    built = len(report.compiled) if report else 0
    return Status("done", 0, prepared.plan.total, built, plan=plan, surroundings=around)


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
    return load_manifest(start.manifest, registry, start.read_target())
