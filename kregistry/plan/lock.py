"""Lock files: a plan that is checked in, and how a new plan differs from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import asdict, evolve

from kregistry.errors import DriftError
from kregistry.events.planned import Refusal, Segment, span
from kregistry.kernel_type.display import show_shape
from kregistry.plan.plan import Plan
from kregistry.plan.plan_file import EntrySection, KernelSection, PlanFile, read_plan, write_plan


def write_lock(plan: Plan, path: Path) -> None:
    """Write a plan as a lock file.

    Raises:
        StorageError: the file cannot be written.
    """
    write_plan(path, plan)


def check_lock(plan: Plan, path: Path) -> None:
    """Compare a plan with a lock file.

    Raises:
        DriftError: the plan differs from the lock file; its details are the differences.
        StorageError: the file cannot be read.
        InputError: it is not a lock file of this version.
    """
    differences = tuple(differ(_without_defaults(read_plan(path), plan), PlanFile.from_plan(plan)))
    if differences:
        raise DriftError(
            f"{path}: {len(differences)} differences (- in the file, + planned now)",
            differences,
            f"kregistry plan -o {path} accepts them",
        )


def _without_defaults(old: PlanFile, plan: Plan) -> PlanFile:
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
    """The differences between two plans, a line each."""
    for section, before, after in (
        ("target", asdict(old.target), asdict(new.target)),
        ("versions", asdict(old.versions), asdict(new.versions)),
    ):
        for key in before:
            if before[key] != after[key]:
                yield f"{section}.{key}: - {before[key]} + {after[key]}"
    for kernel, planned in old.kernels.items():
        if kernel not in new.kernels:
            yield f"kernel - {kernel}"
        elif planned != new.kernels[kernel]:
            yield f"kernel {kernel}: - {_kernel(planned)} + {_kernel(new.kernels[kernel])}"
    for kernel in new.kernels:
        if kernel not in old.kernels:
            yield f"kernel + {kernel}"
    before_entries = _by_identity(old.entries)
    after_entries = _by_identity(new.entries)
    for identity in before_entries:
        if identity not in after_entries:
            yield f"entry - {identity}"
    for identity, entry in after_entries.items():
        if identity in before_entries:
            yield from _differ_entry(identity, before_entries[identity], entry)
        else:
            yield f"entry + {identity}"


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
        yield f"{identity}: range: - {before.range} + {after.range}"
    if before.error != after.error:
        yield f"{identity}: error: - {before.error or 'none'} + {after.error or 'none'}"
    if before.refusals != after.refusals:
        yield f"{identity}: refusals: - {_refusals(name, before.refusals)} + {_refusals(name, after.refusals)}"
    for old_segment, new_segment in zip(before.segments, after.segments):
        if old_segment != new_segment:
            old, new = _segment(name, old_segment), _segment(name, new_segment)
            yield f"{identity}: first changed segment: - {old} + {new}"
            return
    if len(before.segments) != len(after.segments):
        yield f"{identity}: number of segments: - {len(before.segments)} + {len(after.segments)}"


def _kernel(section: KernelSection) -> str:
    return f"{section.name} {section.arch} {section.key}"


def _segment(name: str, segment: Segment) -> str:
    return f"{name} {segment.start}..{segment.stop} {' '.join(segment.kernels)}"


def _refusals(name: str, refusals: Iterable[Refusal]) -> str:
    return "; ".join(f"{name} {span(each.start, each.stop)} ({each.reason})" for each in refusals) or "none"
