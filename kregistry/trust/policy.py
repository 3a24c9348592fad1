"""The policy: a YAML file that says whose kernels are taken, for which GPUs, stacks and remotes.

The file is as trusted as the programs of this machine: it is not signed, and should be writable by its owner alone.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterable
from datetime import date, datetime, time, timezone
from pathlib import Path
from typing import Any

from attrs import frozen

from kregistry.errors import InputError, nearest_hint, quoted, storage_errors
from kregistry.manifest.document import Document, Path_, read_document
from kregistry.manifest.format import describe, structure
from kregistry.target import TARGETS
from kregistry.trust.keys import PublicKey
from kregistry.trust.policy_format import VERSION, KeySource, PolicySource

#: Names the policy.
_ARCHITECTURE = re.compile(r"sm_(\d{2,3})[af]?", re.ASCII)
_LISTS = ("targets", "deep_gemm", "remotes")


@frozen
class TrustedKey:
    """A key, and what it may sign.

    Attributes:
        name: in the policy.
        valid_from, valid_until: seconds since 1970; the end is not included.
        architectures: numbers of GPU architectures (90); ``None``: all.
        deep_gemm, remotes: patterns; ``None``: all.
    """

    name: str
    public: PublicKey
    valid_from: float = float("-inf")
    valid_until: float = float("inf")
    revoked: bool = False
    architectures: frozenset[int] | None = None
    deep_gemm: tuple[str, ...] | None = None
    remotes: tuple[str, ...] | None = None


@frozen
class Policy:
    """Whose kernels are taken.

    Attributes:
        file: where it was read; empty if it was made of keys.
    """

    file: str
    keys: tuple[TrustedKey, ...]

    @classmethod
    def of_keys(cls, keys: Iterable[PublicKey]) -> Policy:
        """One that takes whatever these keys have signed."""
        return cls("", tuple(TrustedKey(each.id[:16], each) for each in keys))

    @classmethod
    def read(cls, path: str | Path) -> Policy:
        """
        Raises:
            ManifestError: all problems of the file, with line and column.
            InputError: there is no such file, or others can write it.
            StorageError: it cannot be read.
        """
        document = read_document(path)
        _refuse_open(Path(path))
        source = structure(document, document.data, PolicySource, (), partial=True)
        if source is None:
            document.raise_problems()
        assert source is not None
        if source.version != VERSION:
            hint = "update kregistry" if source.version > VERSION else ""
            document.report(("version",), f"expected {VERSION}, got {source.version}", hint)
            document.raise_problems()
        keys = [_key(document, name, data) for name, data in source.keys.items()]
        if not keys:
            document.report(("keys",), "no key: nothing would be taken", "kregistry keygen prints an entry")
        _report_twice(document, source)
        document.raise_problems()
        return cls(str(path), tuple(each for each in keys if each is not None))


def matches(value: str, patterns: tuple[str, ...] | None) -> bool:
    """Whether a value is one of those that are allowed; ``*`` stands for any text."""
    return patterns is None or any(fnmatch.fnmatchcase(value, each) for each in patterns)


def _key(document: Document, name: str, data: object) -> TrustedKey | None:
    path: Path_ = ("keys", str(name))
    if not isinstance(name, str):
        document.report(path, f"expected a string as key, got {describe(name)}", "quote it")
    source = structure(document, data, KeySource, path)
    if source is None:
        return None
    try:
        public = PublicKey.parse(source.key)
    except ValueError as error:
        document.report((*path, "key"), str(error) or "not base64", "kregistry keygen prints it")
        return None
    if source.id != public.id:
        document.report((*path, "id"), f"the id of this key is {public.id}", "id and key must belong together")
    lists = {each: _texts(document, (*path, each), getattr(source, each)) for each in _LISTS}
    beginning = _moment(document, (*path, "valid_from"), source.valid_from)
    end = _moment(document, (*path, "valid_until"), source.valid_until)
    return TrustedKey(
        str(name),
        public,
        float("-inf") if beginning is None else beginning,
        float("inf") if end is None else end,
        source.revoked,
        _architectures(document, (*path, "targets"), lists["targets"]),
        lists["deep_gemm"],
        lists["remotes"],
    )


def _texts(document: Document, path: Path_, values: list[Any] | None) -> tuple[str, ...] | None:
    if values is None:
        return None
    if not values:
        document.report(path, "an empty list takes nothing", "leave the line out, or name at least one")
    for number, each in enumerate(values):
        if not isinstance(each, str):
            document.report((*path, number), f"expected a string, got {describe(each)}", "quote it")
    return tuple(str(each) for each in values)


def _architectures(document: Document, path: Path_, names: tuple[str, ...] | None) -> frozenset[int] | None:
    if names is None:
        return None
    found = set()
    for number, name in enumerate(names):
        architecture = _ARCHITECTURE.fullmatch(name)
        if architecture is not None:
            found.add(int(architecture[1]))
        elif name in TARGETS:
            found.add(int(TARGETS[name].compute_capability.replace(".", "")))
        else:
            hint = nearest_hint(name, TARGETS, "target")
            document.report((*path, number), f"unknown target {quoted(name)}", f"{hint}; or an architecture: sm_90a")
    return frozenset(found)


def _moment(document: Document, path: Path_, value: object) -> float | None:
    """Seconds since 1970 of a day, or of a time with a zone."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            document.report(path, f"expected a day, got {quoted(value)}", "e.g. 2026-12-01, in UTC")
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        document.report(path, f"expected a day, got {describe(value)}", "e.g. 2026-12-01, in UTC")
        return None
    return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()


def _report_twice(document: Document, source: PolicySource) -> None:
    """One key under two names would have two sets of rules, and its revocation might be in the other one."""
    seen: dict[object, str] = {}
    for name, data in source.keys.items():
        text = data.get("key") if isinstance(data, dict) else None
        if isinstance(text, str) and text in seen:
            document.report(("keys", name, "key"), f"the same key as {quoted(seen[text])}", "leave one of them out")
        elif isinstance(text, str):
            seen[text] = name


def _refuse_open(path: Path) -> None:
    with storage_errors(path):
        found = path.stat()
    if found.st_mode & stat.S_IWOTH:
        raise InputError(f"{path}: everybody can write this policy", f"chmod o-w {path}")
    if found.st_uid not in (0, os.getuid()):
        raise InputError(f"{path}: this policy belongs to another user ({found.st_uid})", "use a copy of your own")
