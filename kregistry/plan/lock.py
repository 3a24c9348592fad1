"""Lock files: a plan that is checked in, and how a new plan differs from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attrs import evolve

from kregistry.deep_gemm.compiler import Compiler
from kregistry.errors import DriftError, count_of
from kregistry.events.planned import Refusal, Segment, span
from kregistry.kernel import CompilerCommand, Kernel
from kregistry.kernel_type.display import show_shape
from kregistry.manifest import Entry
from kregistry.plan.lock_sources import SourcesSection
from kregistry.plan.plan import Plan
from kregistry.plan.plan_file import PlanFile, read_plan, write_plan
from kregistry.plan.plan_sections import EntrySection, KernelSection
from kregistry.registry import Registry
from kregistry.target import get_target

#: At most so many kernels or intervals are named in one line.
_SHOWN = 8


def write_lock(plan: Plan, path: Path, compiler: Compiler | None = None) -> None:
    """Write a plan as a lock file.

    Args:
        plan: the plan.
        path: the file.
        compiler: the nvcc that the plan was made with. If it is given, the file also holds the sources of the kernels.

    Raises:
        StorageError: the file cannot be written.
    """
    write_plan(path, plan, sources=None if compiler is None else SourcesSection.of_plan(plan, compiler))


def plan_of_lock(path: Path, registry: Registry) -> Plan:
    """The plan in a lock file, as far as it says: its kernels have a name and a key, and sources only if it has them.

    Raises:
        StorageError, InputError: as of :func:`~kregistry.plan.plan_file.read_plan`.
        UnknownNameError, ShapeError: no installed plugin offers a kernel type, or its dimensions have changed.
    """
    file = read_plan(path)
    target = get_target(file.target.name)
    entries = []
    for section in file.entries:
        kernel_type = registry[section.type]
        values = {name: None if value == "none" else value for name, value in section.shape.items()}
        shape = kernel_type.resolve(values, target)
        entry = Entry(section.model, section.label, shape, section.range)
        entries.append(section.planned(entry).with_buffers(kernel_type))
    known = file.sources.kernels if file.sources else {}
    kernels = {}
    for name, each in file.kernels.items():
        source = known[name].source if name in known else ""
        flags = known[name].flags if name in known else ()
        kernels[name] = Kernel(each.name, each.key, source, CompilerCommand(flags, ()), Path(), "", {})
    return Plan(target, file.versions, kernels, tuple(entries))


def check_lock(plan: Plan, path: Path, command: str = "") -> None:
    """Compare a plan with a lock file.

    Args:
        plan: the plan.
        path: the lock file.
        command: writes this plan into the lock file; default: the command for a ``kernels.yaml``.

    Raises:
        DriftError: the plan differs from the lock file; its details are the differences.
        StorageError: the file cannot be read.
        InputError: it is not a lock file of this version.
    """
    differences = tuple(differ(without_defaults(read_plan(path), plan), PlanFile.from_plan(plan)))
    if differences:
        raise DriftError(
            f"{path}: the file and this plan differ in {count_of(len(differences), 'point')}",
            differences,
            f"{command or f'kregistry plan -o {path}'} accepts them",
        )


def without_defaults(old: PlanFile, plan: Plan) -> PlanFile:
    """A lock file as it is written today: lock files of 0.1.0 also show some settings that have their default."""
    defaults: dict[str, dict[str, object]] = {}
    for planned in plan.entries:
        shape = planned.entry.shape
        hidden = {name: value for name, value in shape.items() if name not in shape.shown()}
        defaults.setdefault(planned.entry.kernel_type, {}).update(hidden)

    def shown(entry: EntrySection) -> EntrySection:
        known = defaults.get(entry.type, {})
        items = entry.shape.items()
        return evolve(entry, shape={name: value for name, value in items if name not in known or known[name] != value})

    return evolve(old, entries=tuple(map(shown, old.entries)))


def differ(old: PlanFile, new: PlanFile) -> Iterator[str]:
    """The differences between two plans in words, a line each: versions, kernels, then entries."""
    yield from _differ_stack(old, new)
    for title, missing in (
        ("no longer needed", [kernel for kernel in old.kernels if kernel not in new.kernels]),
        ("needed now", [kernel for kernel in new.kernels if kernel not in old.kernels]),
    ):
        if missing:
            yield f"{count_of(len(missing), 'kernel')} {title}: {', '.join(missing[:_SHOWN])}{_more(len(missing))}"
    for kernel, planned in old.kernels.items():
        if kernel in new.kernels and planned != new.kernels[kernel]:
            yield _changed(f"kernel {kernel}", _kernel(planned), _kernel(new.kernels[kernel]))
    before_entries = _by_identity(old.entries)
    after_entries = _by_identity(new.entries)
    for identity in before_entries:
        if identity not in after_entries:
            yield f"{identity}: in the file only"
    for identity, entry in after_entries.items():
        if identity in before_entries:
            yield from _differ_entry(identity, before_entries[identity], entry)
        else:
            yield f"{identity}: in this plan only"


def _differ_stack(old: PlanFile, new: PlanFile) -> Iterator[str]:
    for title, before, after in (
        ("target", old.target.name, new.target.name),
        ("compute capability", old.target.compute_capability, new.target.compute_capability),
        ("SMs of the target", old.target.num_sms, new.target.num_sms),
        ("DeepGEMM", old.versions.deep_gemm, new.versions.deep_gemm),
        ("torch", old.versions.torch, new.versions.torch),
        ("nvcc", old.versions.nvcc, new.versions.nvcc),
    ):
        if before != after:
            yield _changed(title, before, after)


def _changed(title: str, before: object, after: object) -> str:
    return f"{title}: {before} in the file, {after} now"


def _more(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""


def _by_identity(entries: Iterable[EntrySection]) -> dict[str, EntrySection]:
    """Entries by what they are; if a manifest has an entry twice, with two ranges, the later ones are numbered."""
    found: dict[str, EntrySection] = {}
    counts: Counter[str] = Counter()
    for entry in entries:
        identity = _identity(entry)
        counts[identity] += 1
        number = counts[identity]
        found[identity if number == 1 else f"{identity} #{number}"] = entry
    return found


def _identity(entry: EntrySection) -> str:
    return f"{entry.model}: {entry.type} {show_shape(entry.shape)} ({entry.label})"


def _differ_entry(identity: str, before: EntrySection, after: EntrySection) -> Iterator[str]:
    name = after.range.name
    if before.range != after.range:
        yield _changed(identity, before.range, after.range)
    if before.error != after.error:
        yield _changed(f"{identity}: error", before.error or "none", after.error or "none")
    if before.refusals != after.refusals:
        yield _changed(f"{identity}: refused", _refusals(name, before.refusals), _refusals(name, after.refusals))
    changed = changed_spans(before.segments, after.segments)
    for old, new in changed[:1]:
        where = f"{name} {span(new.start, new.stop)}"
        yield _changed(f"{identity}: {where}", _kernels(old.kernels), _kernels(new.kernels)) + _further(name, changed)
    if before.range == after.range and not changed and before.segments != after.segments:
        yield _changed(f"{identity}: planned", _covered(name, before.segments), _covered(name, after.segments))


def changed_spans(before: Sequence[Segment], after: Sequence[Segment]) -> list[tuple[Segment, Segment]]:
    """The intervals that both plans have, but with other kernels: (as before, as after). Both are in order."""
    changed: list[tuple[Segment, Segment]] = []
    first = 0
    for new in after:
        while first < len(before) and before[first].stop < new.start:
            first += 1
        at = first
        while at < len(before) and (old := before[at]).start <= new.stop:
            at += 1
            if old.kernels != new.kernels:
                start, stop = max(old.start, new.start), min(old.stop, new.stop)
                changed.append((Segment(start, stop, old.kernels), Segment(start, stop, new.kernels)))
    return changed


def _further(name: str, changed: list[tuple[Segment, Segment]]) -> str:
    if len(changed) < 2:
        return ""
    return f"; also {name} {', '.join(span(new.start, new.stop) for _, new in changed[1:_SHOWN])}{_more(len(changed))}"


def _covered(name: str, segments: Iterable[Segment]) -> str:
    return f"{name} {', '.join(span(each.start, each.stop) for each in segments)}"


def _kernel(section: KernelSection) -> str:
    return f"{section.name} {section.arch} {section.key}"


def _kernels(kernels: Iterable[str]) -> str:
    return " and ".join(kernels) or "no kernel"


def _refusals(name: str, refusals: Iterable[Refusal]) -> str:
    return "; ".join(f"{name} {span(each.start, each.stop)} ({each.reason})" for each in refusals) or "nothing"
