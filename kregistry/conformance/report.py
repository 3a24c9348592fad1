"""Reports of a conformance run: JSON lines, and a short table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from kregistry.conformance.run import Outcome, Verdict
from kregistry.errors import StorageError
from kregistry.kernel_type import KernelType

#: The record of one check of one kernel type.
Record = Mapping[str, Any]


def record(kernel_type: KernelType, outcome: Outcome, origin: tuple[str, str] | None = None) -> Record:
    """The record of an outcome; ``origin`` is (distribution, version), by default those of the module."""
    distribution, version = origin or distribution_of(kernel_type)
    return {
        "kernel_type": kernel_type.name,
        "distribution": distribution,
        "version": version,
        "rule": outcome.check.rule.id,
        "case": outcome.check.case,
        "level": str(outcome.check.rule.level),
        "outcome": outcome.verdict.value,
        "reason": outcome.reason,
    }


def distribution_of(kernel_type: KernelType) -> tuple[str, str]:
    """Name and version of the distribution that installed the kernel type's module; empty if there is none."""
    return _distribution_of(type(kernel_type).__module__.partition(".")[0])


@cache
def _distribution_of(top: str) -> tuple[str, str]:
    for name in metadata.packages_distributions().get(top, ()):
        return name, metadata.version(name)
    return "", ""


def write_report(records: Iterable[Record], path: Path) -> None:
    """Write the records, one JSON object per line.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        path.write_text("".join(json.dumps(each) + "\n" for each in records))
    except OSError as error:
        raise StorageError.from_oserror(error, path) from error


def table(records: Iterable[Record]) -> Iterator[tuple[str, ...]]:
    """A row for each kernel type: name, distribution, and the numbers of checks by verdict."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for each in records:
        origin = f"{each['distribution']} {each['version']}".strip() or "not installed"
        counts.setdefault((each["kernel_type"], origin), Counter())[each["outcome"]] += 1
    for (name, origin), count in counts.items():
        yield (name, origin, *(str(count[verdict.value]) for verdict in Verdict))


def skip_reasons(records: Iterable[Record]) -> Iterator[str]:
    """A line for each reason why rules were skipped or not proved, with these rules."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in records:
        if each["outcome"] in (Verdict.SKIPPED.value, Verdict.NOT_PROVED.value):
            rules = reasons.setdefault((each["outcome"], each["reason"]), [])
            if each["rule"] not in rules:
                rules.append(each["rule"])
    for (outcome, reason), rules in reasons.items():
        yield f"{outcome} {', '.join(rules)}: {reason}"
