"""Estimated compile times, by which the longest kernels start first and groups get a sensible size.

A compilation has three parts. Headers are parsed once per family. PTX is generated and assembled once per kernel; these
seconds are those of a kernel of mean size, and larger kernels take longer. A build scales the seconds to its machine.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from kregistry.bounded_input import parse_json, read_bounded
from kregistry.compile.build_report import FrontEndRun
from kregistry.events.compiled import CompiledKernel
from kregistry.kernel import Kernel
from kregistry.store import atomic


@frozen
class Cost:
    """Seconds for the parts of one compilation."""

    parse: float
    generate: float
    assemble: float

    @property
    def alone(self) -> float:
        """For a kernel that nvcc compiles on its own."""
        return self.parse + self.generate + self.assemble

    @property
    def code(self) -> float:
        """For the kernel's code, without the headers."""
        return self.generate + self.assemble

    def of_size(self, size: float) -> Cost:
        """For a kernel of another size, relative to the mean: its code takes longer, the headers do not."""
        return Cost(self.parse, self.generate * size, self.assemble * size)

    def scaled(self, factor: float) -> Cost:
        """On a machine that takes ``factor`` times as long."""
        return Cost(self.parse * factor, self.generate * factor, self.assemble * factor)

    def to_json(self) -> list[float]:
        return [round(seconds, 3) for seconds in (self.parse, self.generate, self.assemble)]


#: A front end behind parsed headers still walks over all their declarations: 0.36 s where parsing takes 1.43 s.
_START_SHARE = 0.25


def start_seconds(parse: float) -> float:
    """Seconds that a front end spends on headers that are parsed already."""
    return _START_SHARE * parse


def front_end_seconds(costs: Iterable[Cost]) -> float:
    """Seconds of one front end for several kernels, behind parsed headers: its start, and the code of each kernel."""
    known = list(costs)
    return start_seconds(max(cost.parse for cost in known)) + sum(cost.generate for cost in known)


def shipped_costs() -> dict[str, Cost]:
    """The costs that ship with the package, by family."""
    return _parse(json.loads((resources.files(__package__) / "compile_seconds.json").read_text()))


class Costs:
    """Measured seconds by family: those of this store, otherwise those that ship with the package."""

    def __init__(self, store_directory: Path) -> None:
        self._path = store_directory / "costs.json"
        self._costs = shipped_costs()
        count = len(self._costs)
        self._default = Cost(
            sum(cost.parse for cost in self._costs.values()) / count,
            sum(cost.generate for cost in self._costs.values()) / count,
            sum(cost.assemble for cost in self._costs.values()) / count,
        )
        self._costs.update(_read(self._path))

    def cost(self, name: str) -> Cost:
        """For a kernel of mean size of a family; for an unknown family, the mean of those that ship."""
        return self._costs.get(name, self._default)

    def estimate(self, name: str) -> float:
        """Seconds of a kernel of mean size that nvcc compiles on its own."""
        return self.cost(name).alone

    def learn(
        self,
        compiled: Sequence[CompiledKernel],
        front_ends: Sequence[FrontEndRun] = (),
        size: Callable[[Kernel], float] = lambda kernel: 1.0,
    ) -> None:
        """Remember what a build measured; a lost race only costs an estimate.

        Args:
            size: gives the size of a kernel, relative to the mean of its family.
        """
        alone = _rates(
            (each.kernel.name, each.seconds, self.cost(each.kernel.name).of_size(size(each.kernel)).alone)
            for each in compiled
            if each.front_end_seconds is None
        )
        assembled = _rates(
            (each.kernel.name, each.seconds - each.front_end_seconds, size(each.kernel))
            for each in compiled
            if each.front_end_seconds is not None
        )
        learned: dict[str, Cost] = {}
        for name, factor in _rates(
            (name, run.seconds, front_end_seconds(self.cost(each.name).of_size(size(each)) for each in run.kernels))
            for run in front_ends
            for name in {each.name for each in run.kernels}
        ).items():
            known = self.cost(name)
            learned[name] = Cost(known.parse * factor, known.generate * factor, known.assemble)
        for name, seconds in assembled.items():
            learned[name] = evolve(learned.get(name, self.cost(name)), assemble=seconds)
        for name in alone.keys() - assembled.keys():
            learned[name] = self.cost(name).scaled(alone[name])
        if learned:
            self._costs.update(learned)
            content = {name: cost.to_json() for name, cost in sorted(self._costs.items())}
            with contextlib.suppress(OSError):
                atomic.replace_file(self._path, json.dumps(content, indent=1).encode())


def _rates(measured: Iterable[tuple[str, float, float]]) -> Mapping[str, float]:
    """By name: the sum of the first numbers divided by the sum of the second."""
    sums: dict[str, tuple[float, float]] = {}
    for name, seconds, amount in measured:
        known = sums.get(name, (0.0, 0.0))
        sums[name] = (known[0] + seconds, known[1] + amount)
    return {name: seconds / amount for name, (seconds, amount) in sums.items() if amount}


def _read(path: Path) -> dict[str, Cost]:
    """The valid costs of a file; a missing or damaged file only costs the order."""
    with contextlib.suppress(OSError, ValueError):
        return _parse(parse_json(read_bounded(path)))
    return {}


def _parse(content: Any) -> dict[str, Cost]:
    if not isinstance(content, dict):
        return {}
    return {
        name: Cost(*map(float, parts))
        for name, parts in content.items()
        if isinstance(parts, list) and len(parts) == 3 and all(_is_seconds(part) for part in parts) and any(parts)
    }


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
