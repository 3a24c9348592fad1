"""Plans on disk: one JSON schema, of lock files and of the plans that warm-up keeps beside the store.

A lock file is the content of :meth:`~kregistry.plan.Plan.to_json`. A plan that is kept beside a store has more: what is
needed to compile each kernel (``RecordedSection``), and what a build made of it (``BuildSection``). Both hold only on
the machine where they were made. Such a file names its fingerprint and carries a digest of its content, because servers
launch what it says. The parts are in :mod:`kregistry.plan.plan_sections`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import cattrs
from attrs import asdict, frozen

from kregistry.bounded_input import MAX_JSON_BYTES, parse_json, read_input
from kregistry.errors import InputError, quoted, shorten
from kregistry.events.planned import Refusal, Segment
from kregistry.plan.lock_sources import SourcesSection
from kregistry.plan.plan import Plan
from kregistry.plan.plan_sections import BuildSection, EntrySection, KernelSection, RecordedSection, TargetSection
from kregistry.store import atomic, signed_json
from kregistry.toolchain import Versions

LOCK_VERSION = 1
_HINT = "kregistry plan -o FILE writes a lock file"
#: Keys of kept plans, which carry a digest.
_KEPT = frozenset(("build", "recorded", "fingerprint", signed_json.DIGEST))
_KEY = re.compile(r"[0-9a-f]{64}")
#: More than any run-time value.
_MOST = 1 << 31


@frozen
class PlanFile:
    """The content of a file.

    Attributes:
        fingerprint: of a kept plan: the digest of all that it depends on, which is also the name of its file.
        sources: of a lock file: what another machine needs to compile the kernels.
    """

    lock_version: int
    target: TargetSection
    versions: Versions
    kernels: dict[str, KernelSection]
    entries: tuple[EntrySection, ...]
    build: BuildSection | None = None
    recorded: dict[str, RecordedSection] | None = None
    fingerprint: str = ""
    sources: SourcesSection | None = None

    @classmethod
    def from_plan(cls, plan: Plan) -> PlanFile:
        """The content of the lock file of a plan."""
        return cls.from_json(json.loads(json.dumps(plan.to_json())))

    @classmethod
    def from_json(cls, content: object) -> PlanFile:
        """
        Raises:
            ValueError: the content does not follow the schema, or contradicts itself.
        """
        try:
            made = _converter(detailed=False).structure(content, cls)
        except Exception:  # cattrs raises whatever the structuring of some value raises
            try:
                _converter(detailed=True).structure(content, cls)
            except Exception as error:
                raise ValueError(cattrs.transform_error(error, format_exception=_describe)[0]) from error
            raise
        _check(made)
        return made


def write_plan(
    path: Path,
    plan: Plan,
    build: BuildSection | None = None,
    *,
    recorded: bool = False,
    sources: SourcesSection | None = None,
    replace: bool = True,
) -> None:
    """Write a plan in one step: a reader finds the old content or the new one.

    Args:
        path: the file.
        plan: the plan.
        build: what a build made of it.
        recorded: also write what is needed to compile each kernel on this machine.
        sources: of a lock file; the same for another machine.
        replace: with ``recorded``, whether a file that is there by then is replaced.

    Raises:
        StorageError: the file cannot be written.
    """
    sections: dict[str, Any] = {} if build is None else {"build": asdict(build)}
    if recorded:
        kernels = sorted(plan.kernels.items())
        sections["recorded"] = {name: asdict(RecordedSection.from_kernel(kernel)) for name, kernel in kernels}
    if sections:
        content = signed_json.encode({**plan.to_json(), "fingerprint": path.stem, **sections})
        with atomic.storage_errors(path):
            put = atomic.replace_file if replace else atomic.create_file
            put(path, content)  # a file of ours, whatever lies in its place: one waits for a named pipe
        return
    lock = plan.to_json() if sources is None else {**plan.to_json(), "sources": asdict(sources)}
    atomic.write_output(path, (json.dumps(lock, indent=1) + "\n").encode())


def read_plan(path: Path) -> PlanFile:
    """The plan in a file.

    Raises:
        StorageError: the file cannot be read.
        InputError: there is no such file, or its content is not a plan of this version.
    """
    raw = read_input(path, 2 * MAX_JSON_BYTES)  # kept plans hold the sources of their kernels
    try:
        content = parse_json(raw)
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {shorten(str(error))}", _HINT) from error
    version = content.get("lock_version") if isinstance(content, dict) else None
    if type(version) is int and version != LOCK_VERSION:
        text = f"{path}: a lock file of version {version}; this kregistry reads version {LOCK_VERSION}"
        raise InputError(text, f"kregistry plan FILE -o {path} writes it again")
    try:
        kept = isinstance(content, dict) and not _KEPT.isdisjoint(content)
        return PlanFile.from_json(signed_json.check(content) if kept else content)
    except ValueError as error:
        raise InputError(f"{path}: not a lock file of version {LOCK_VERSION}: {error}", _HINT) from error


def _check(file: PlanFile) -> None:
    """Raise ValueError where sections contradict each other, or a path leaves its directory."""
    used = {kernel for entry in file.entries for segment in entry.segments for kernel in segment.kernels}
    if not used <= file.kernels.keys():
        raise ValueError("a segment names a kernel that is not in the plan")
    for entry in file.entries:
        _check_range(entry)
    if not all(_KEY.fullmatch(kernel.key) for kernel in file.kernels.values()):
        raise ValueError("a key of a kernel is not a sha256")  # it becomes a path in the store
    if file.recorded is not None:
        _check_recorded(file, file.recorded)
    if file.build is None:
        return
    if {*file.build.kernels, *file.build.broken} != set(file.kernels):
        raise ValueError("the build is not of the kernels of the plan")
    for built in file.build.kernels.values():
        _check_place(built.cache_entry, (built.cubin_file, *built.files))


def _check_range(entry: EntrySection) -> None:
    """Segments and refusals are intervals in order and apart: whoever compares or draws them relies on it."""
    values = entry.range
    if not (0 <= values.start <= values.stop < _MOST and values.step >= 1):
        raise ValueError(f"there is no range {shorten(str(values))}")
    intervals: tuple[Iterable[Segment | Refusal], ...] = (entry.segments, entry.refusals)
    for kind in intervals:
        last = -1
        for each in kind:
            if not last < each.start <= each.stop < _MOST:
                raise ValueError(f"{each.start}..{each.stop} is not an interval after {last}")
            last = each.stop


def _check_recorded(file: PlanFile, recorded: dict[str, RecordedSection]) -> None:
    if set(recorded) != set(file.kernels):
        raise ValueError("the recorded kernels are not those of the plan")
    for kernel in recorded.values():
        _check_place(kernel.cache_entry, (kernel.cubin_file, *kernel.files))
        if any(ord(max(content, default="")) > 255 for content in kernel.files.values() if content):
            raise ValueError("the content of a file is not bytes")


def _check_place(cache_entry: str, names: tuple[str, ...]) -> None:
    place = PurePosixPath(cache_entry)
    if place.is_absolute() or ".." in place.parts or len(place.parts) < 2:
        raise ValueError("the directory of a kernel is not below a home directory")
    if any(PurePosixPath(name).name != name for name in names):
        raise ValueError("the name of a file is a path")


def _strict(value: Any, kind: type) -> Any:
    """Take a value of exactly this type; cattrs would convert it."""
    if type(value) is not kind:
        raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _describe(error: BaseException, kind: type | None) -> str:
    if isinstance(error, KeyError):
        return f"the key {quoted(error.args[0])} is missing"
    return shorten(str(error)) if type(error) is ValueError else "expected another type"


@cache
def _converter(detailed: bool) -> cattrs.Converter:
    """One that says where content is wrong takes four times as long."""
    converter = cattrs.Converter(detailed_validation=detailed)
    for kind in (int, str, bool):
        converter.register_structure_hook(kind, _strict)
    return converter
