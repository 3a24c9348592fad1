"""Sizes of kernels, predicted before they are compiled.

Within one family the size of the PTX differs up to tenfold, and compile times differ with it. Size is predicted
from earlier builds: the same kernel if known, otherwise the mean of kernels that share the most predictive template
argument, for example BLOCK_N. Which argument that is follows from the sizes themselves.

STORE/ptx_bytes.json    family -> bytes of size 1, and bytes by template arguments

The package ships such a file: that of a store after a build of the shipped kernels.yaml.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from attrs import define, field

from kregistry.bounded_input import parse_json, read_bounded
from kregistry.compile.shared.kernel_family import Arguments, Member
from kregistry.deep_gemm.generated_source import split_arguments
from kregistry.store import atomic

#: More than any of DeepGEMM's kernels has.
_MOST_ARGUMENTS = 256


@define
class _Sizes:
    """The known sizes of one family, and what follows from them.

    Attributes:
        one: the number of bytes that is size 1: the mean, until a build has learned seconds for it.
        fixed: whether an earlier build has done so.
        nbytes: bytes of PTX by template arguments.
        best: position of the most predictive argument.
        means: mean bytes of the kernels with the same value at that position, by value.
    """

    one: float
    fixed: bool
    nbytes: dict[Arguments, int] = field(factory=dict)
    best: int = 0
    means: dict[str, float] = field(factory=dict)

    def add(self, sizes: Mapping[Arguments, int]) -> None:
        self.nbytes.update(sizes)
        mean, positions = _mean(self.nbytes.values()), range(max(1, *map(len, self.nbytes)))
        self.one = self.one if self.fixed else mean
        groups = [self._by_value(position) for position in positions]
        self.best = min(positions, key=lambda position: _error(groups[position].values(), mean))
        self.means = {value: _mean(found) for value, found in groups[self.best].items()}

    def relative(self, arguments: Arguments) -> float:
        same = self.nbytes.get(arguments)
        return self.means.get(_value(arguments, self.best), self.one) / self.one if same is None else same / self.one

    def _by_value(self, position: int) -> Mapping[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for arguments, nbytes in self.nbytes.items():
            found[_value(arguments, position)].append(nbytes)
        return found


def _mean(sizes: Collection[int]) -> float:
    return sum(sizes) / len(sizes)


def _value(arguments: Arguments, position: int) -> str:
    return arguments[position] if position < len(arguments) else ""


def _error(groups: Iterable[list[int]], mean: float) -> float:
    """Sum of squared errors if each kernel's size is predicted from the others of its group (leave-one-out)."""
    error = 0.0
    for sizes in groups:
        total, others = sum(sizes), len(sizes) - 1
        error += sum((nbytes - ((total - nbytes) / others if others else mean)) ** 2 for nbytes in sizes)
    return error


class KernelSizes:
    """Known sizes of all families. Safe against threads."""

    def __init__(self, store_directory: Path) -> None:
        self._path = store_directory / "ptx_bytes.json"
        self._families: dict[str, _Sizes] = {}
        self._new: dict[str, dict[Arguments, int]] = {}
        self._lock = threading.Lock()
        for text in (resources.files(__package__).joinpath("ptx_bytes.json").read_text(), _read(self._path)):
            for name, (one, sizes) in _parse(text).items():
                known = self._families.setdefault(name, _Sizes(one, fixed=True))
                known.one = one  # the store's seconds were learned for this size
                known.add(sizes)

    def relative(self, member: Member) -> float:
        """Predicted size of a kernel, relative to its family's mean; 1 if nothing is known."""
        with self._lock:
            sizes = self._families.get(member.kernel.name)
            return sizes.relative(member.arguments) if sizes else 1.0

    def learn(self, sizes: Iterable[tuple[Member, int]]) -> None:
        """Add sizes of generated PTX, in bytes."""
        by_name: dict[str, dict[Arguments, int]] = defaultdict(dict)
        for member, nbytes in sizes:
            by_name[member.kernel.name][member.arguments] = nbytes
        with self._lock:
            for name, found in by_name.items():
                self._families.setdefault(name, _Sizes(0.0, fixed=False)).add(found)
                self._new.setdefault(name, {}).update(found)

    def save(self) -> None:
        """Keep what was learned for later builds; a lost race only costs an estimate."""
        with self._lock:
            new = {name: (self._families[name].one, dict(sizes)) for name, sizes in self._new.items()}
        if not new:
            return
        known = _parse(_read(self._path))
        for name, (one, found) in new.items():
            known[name] = (one, {**known.get(name, (one, {}))[1], **found})
        content = {
            name: {"one": round(one), "bytes": {", ".join(each): nbytes for each, nbytes in sorted(sizes.items())}}
            for name, (one, sizes) in sorted(known.items())
        }
        with contextlib.suppress(OSError):
            atomic.replace_file(self._path, json.dumps(content, indent=1).encode())


def _read(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return read_bounded(path).decode(errors="replace")
    return ""


def _parse(text: str) -> dict[str, tuple[float, dict[Arguments, int]]]:
    """The valid entries of a file; a damaged file only costs estimates."""
    found: dict[str, tuple[float, dict[Arguments, int]]] = {}
    try:
        content: Any = parse_json(text)
        for name, family in content.items():
            known = ((split_arguments(each), nbytes) for each, nbytes in family["bytes"].items())
            sizes = {each: nbytes for each, nbytes in known if len(each) <= _MOST_ARGUMENTS and _is_size(nbytes)}
            if sizes and _is_size(family["one"]):
                found[name] = (family["one"], sizes)
    except (ValueError, AttributeError, KeyError, TypeError):
        pass
    return found


def _is_size(value: object) -> bool:
    return isinstance(value, int) and 0 < value < 1 << 40
