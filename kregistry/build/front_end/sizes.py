"""Sizes of kernels: what tells those of one family apart before a compiler has seen them.

The PTX of one family's kernels differs tenfold, and so do the seconds that they take. How large a kernel will be is
told by those that were made before: the same one, else those with which it shares the one template argument that tells
most, BLOCK_N for example. Which one that is follows from the sizes themselves.

STORE/ptx_bytes.json    family -> template arguments -> bytes; those that ship with the package come on top
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Any

from attrs import define, field

from kregistry.build.front_end.family import Arguments, Member
from kregistry.cache import atomic


@define
class _Sizes:
    """Bytes of one family's kernels by template arguments, and what follows from them."""

    nbytes: dict[Arguments, int] = field(factory=dict)
    mean: float = 0.0
    telling: int = 0
    alike: dict[str, float] = field(factory=dict)

    def add(self, sizes: Mapping[Arguments, int]) -> None:
        self.nbytes.update(sizes)
        self.mean = fmean(self.nbytes.values())
        positions = range(min(map(len, self.nbytes)))
        groups = {position: self._by_value(position) for position in positions}
        self.telling = min(positions, key=lambda position: self._error(groups[position].values()), default=0)
        self.alike = {value: fmean(found) for value, found in groups.get(self.telling, {}).items()}

    def relative(self, arguments: Arguments) -> float:
        same = self.nbytes.get(arguments)
        if same is not None:
            return same / self.mean
        value = arguments[self.telling] if self.telling < len(arguments) else ""
        return self.alike[value] / self.mean if value in self.alike else 1.0

    def _by_value(self, position: int) -> Mapping[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for arguments, nbytes in self.nbytes.items():
            found[arguments[position]].append(nbytes)
        return found

    def _error(self, groups: Iterable[list[int]]) -> float:
        """Squared, were each kernel's size guessed from the others with its value (leave-one-out)."""
        error = 0.0
        for sizes in groups:
            total, others = sum(sizes), len(sizes) - 1
            error += sum((nbytes - ((total - nbytes) / others if others else self.mean)) ** 2 for nbytes in sizes)
        return error


class KernelSizes:
    """Known sizes; not safe against threads."""

    def __init__(self, store_directory: Path) -> None:
        self._path = store_directory / "ptx_bytes.json"
        self._families: dict[str, _Sizes] = defaultdict(_Sizes)
        for text in (resources.files(__package__).joinpath("ptx_bytes.json").read_text(), _read(self._path)):
            for name, sizes in _parse(text).items():
                self._families[name].add(sizes)
        self._new: dict[str, dict[Arguments, int]] = {}

    def relative(self, member: Member) -> float:
        """How large a kernel is, where the mean of its family's known ones is 1; 1 if nothing tells."""
        return self._families[member.kernel.name].relative(member.arguments)

    def learn(self, sizes: Iterable[tuple[Member, int]]) -> None:
        """Bytes of PTX that were made."""
        by_name: dict[str, dict[Arguments, int]] = defaultdict(dict)
        for member, nbytes in sizes:
            by_name[member.kernel.name][member.arguments] = nbytes
        for name, found in by_name.items():
            self._families[name].add(found)
            self._new.setdefault(name, {}).update(found)

    def save(self) -> None:
        """Keep what was learned for later builds; losing a race loses nothing but an estimate."""
        if not self._new:
            return
        known = _parse(_read(self._path))
        for name, found in self._new.items():
            known[name] = {**known.get(name, {}), **found}
        content = {
            name: {", ".join(arguments): nbytes for arguments, nbytes in sorted(sizes.items())}
            for name, sizes in sorted(known.items())
        }
        with contextlib.suppress(OSError):
            atomic.replace_file(self._path, json.dumps(content, indent=1).encode())


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""


def _parse(text: str) -> dict[str, dict[Arguments, int]]:
    """What makes sense of a file; a damaged one costs only estimates."""
    try:
        content: Any = json.loads(text)
    except ValueError:
        return {}
    found: dict[str, dict[Arguments, int]] = defaultdict(dict)
    for name, sizes in content.items() if isinstance(content, dict) else ():
        for arguments, nbytes in sizes.items() if isinstance(sizes, dict) else ():
            if isinstance(nbytes, int) and nbytes > 0:
                found[name][tuple(arguments.split(", "))] = nbytes
    return found
