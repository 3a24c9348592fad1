"""Plans that are kept beside a store, so that the same manifest on the same stack is planned once.

A file is named after the :func:`~kregistry.plan.fingerprint.fingerprint` of all that the plan depends on. A warm-up
reads the same file. Whatever is wrong with one only costs the time to plan again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from kregistry.errors import InputError, StorageError, storage_errors
from kregistry.events.planned import PlannedEntry
from kregistry.manifest import Entry, Manifest
from kregistry.plan.fingerprint import fingerprint
from kregistry.plan.plan import Plan
from kregistry.plan.plan_file import PlanFile, read_plan, write_plan
from kregistry.plan.plan_sections import EntrySection
from kregistry.registry import Registry
from kregistry.toolchain import Toolchain


def plan_path(store_directory: Path, manifest: Manifest, registry: Registry, toolchain: Toolchain) -> Path:
    """Where the plan of a manifest is kept, on this stack."""
    return store_directory / "plans" / f"{fingerprint(manifest, registry, toolchain)}.json"


@frozen
class KeptPlan:
    """The kept plan of one manifest on one stack, which may exist or not.

    Attributes:
        path: its file.
        manifest, registry, toolchain: what it is the plan of.
    """

    path: Path
    manifest: Manifest
    registry: Registry
    toolchain: Toolchain

    @classmethod
    def beside(cls, store_directory: Path, manifest: Manifest, registry: Registry, toolchain: Toolchain) -> KeptPlan:
        """The kept plan beside a store."""
        return cls(plan_path(store_directory, manifest, registry, toolchain), manifest, registry, toolchain)

    @property
    def fingerprint(self) -> str:
        return self.path.stem

    def read(self) -> Plan | None:
        """The plan, complete; ``None`` if there is none, or its file is damaged or cannot be read."""
        if not self.path.exists():
            return None
        try:
            file = read_plan(self.path)
        except (InputError, StorageError):
            return None
        entries = self.manifest.entries
        if file.fingerprint != self.fingerprint:
            return None
        if file.recorded is None or [each.type for each in file.entries] != [each.kernel_type for each in entries]:
            return None
        kernels = {name: recorded.kernel(file.kernels[name]) for name, recorded in file.recorded.items()}
        if any(kernel.id != name for name, kernel in kernels.items()):
            return None
        planned = tuple(self._planned(section, entry) for section, entry in zip(file.entries, entries))
        return Plan(self.manifest.target, self.toolchain.versions, kernels, planned, self.fingerprint, reused=True)

    def write(self, plan: Plan) -> None:
        """Keep a plan. One with an entry that could not be planned is not kept: the next attempt may succeed.

        The same plan stays as it is: another process may have kept it meanwhile, and built it for its ranks. Nothing
        happens if the directory cannot be written: no command needs a kept plan.
        """
        found = self.read()
        if any(planned.error for planned in plan.entries):
            if found is None:
                with suppress(OSError):
                    self.path.unlink()  # a file that could not be used
            return
        if found == plan:
            return
        try:
            with storage_errors(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            write_plan(self.path, plan, recorded=True, replace=os.path.lexists(self.path))
        except StorageError:
            return

    def _planned(self, section: EntrySection, entry: Entry) -> PlannedEntry:
        return section.planned(entry).with_buffers(self.registry[entry.kernel_type])


def plans_in(store_directory: Path) -> Iterator[PlanFile]:
    """All kept plans of a store, without those that cannot be read."""
    for path in sorted((store_directory / "plans").glob("*.json")):
        with suppress(InputError, StorageError):
            yield read_plan(path)
