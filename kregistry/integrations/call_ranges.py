"""The range of run-time values that a first call stands for, and the manifest entries that cover it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.kernel_type import KernelType, RunDimension, Value
from kregistry.manifest import Entry


class CallRanges:
    """
    Args:
        engine: its target and its entries.
        policies: names of the policies by which the engine chooses dimensions. If one of them gives the number of a
            call, the policy is warmed up, not only the number.
        largest: the largest run-time value that the server can reach, as far as the engine knows when it is called.
    """

    def __init__(self, engine: EngineWarmup, policies: Collection[str], largest: Callable[[], int]) -> None:
        self._engine = engine
        self._policies = policies
        self._largest = largest

    def key(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> tuple[object, ...]:
        """Equal for the calls that one warm-up covers."""
        return (
            kernel_type.name,
            *(item for item in shape.items() if item[0] not in kernel_type.buffer_sizes),
            range_end(kernel_type.run_dimension, m, self._largest()),
        )

    def entries(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> list[Entry]:
        """What would have covered a call."""
        stop = range_end(kernel_type.run_dimension, m, self._largest())
        shapes = self._as_policies(kernel_type, shape, m)
        return [self._engine.entry(kernel_type.name, each, stop, "first call") for each in shapes]

    def _as_policies(
        self, kernel_type: KernelType, shape: Mapping[str, Value], m: int
    ) -> Iterator[Mapping[str, Value]]:
        """The shape with each policy of the engine that gives its number at ``m``, or the shape itself."""
        found = False
        for dimension in kernel_type.all_dimensions:
            for policy in sorted(dimension.policies.keys() & set(self._policies)):
                varied = {**shape, dimension.name: policy}
                if kernel_type.resolve(varied, self._engine.target).at(dimension, m) == shape.get(dimension.name):
                    found = True
                    yield varied
        if not found:
            yield shape


def range_end(run_dimension: RunDimension, m: int, largest: int) -> int:
    """The end of the range to warm up for a first call at ``m``.

    The engine's largest value counts tokens. If the dimension counts requests, or ``m`` is larger, the range ends at
    the next power of two: servers start with their largest batch.
    """
    counts_tokens = run_dimension.name != "batch_size"
    return largest if counts_tokens and m <= largest else 1 << (m - 1).bit_length()
