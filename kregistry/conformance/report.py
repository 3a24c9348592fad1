"""Reports: JSON lines for machines, a short table for people."""

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

#: One check of one kernel type, as it is written and shown.
Record = Mapping[str, Any]


def record(kernel_type: KernelType, outcome: Outcome, origin: tuple[str, str] | None = None) -> Record:
    """One line of the report; ``origin`` is (distribution, version), by default that of the module."""
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
    """The distribution that installed the kernel type's module, and its version; empty if none did."""
    return _distribution_of(type(kernel_type).__module__.partition(".")[0])


@cache
def _distribution_of(top: str) -> tuple[str, str]:
    for name in metadata.packages_distributions().get(top, ()):
        return name, metadata.version(name)
    return "", ""


def write_report(records: Iterable[Record], path: Path) -> None:
    """One JSON object a line.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        path.write_text("".join(json.dumps(each) + "\n" for each in records))
    except OSError as error:
        raise StorageError.from_oserror(error, path) from error


def table(records: Iterable[Record]) -> Iterator[tuple[str, ...]]:
    """For each kernel type: name, distribution, and how many checks passed, failed, were skipped, fail as known."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for each in records:
        origin = f"{each['distribution']} {each['version']}".strip() or "not installed"
        counts.setdefault((each["kernel_type"], origin), Counter())[each["outcome"]] += 1
    for (name, origin), count in counts.items():
        yield (name, origin, *(str(count[verdict.value]) for verdict in Verdict))


def skip_reasons(records: Iterable[Record]) -> Iterator[str]:
    """Every reason for a skip once, with the rules that it is for."""
    reasons: dict[str, list[str]] = {}
    for each in records:
        if each["outcome"] == Verdict.SKIPPED.value:
            rules = reasons.setdefault(each["reason"], [])
            if each["rule"] not in rules:
                rules.append(each["rule"])
    for reason, rules in reasons.items():
        yield f"skipped {', '.join(rules)}: {reason}"
