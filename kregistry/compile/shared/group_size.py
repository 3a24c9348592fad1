"""How many of the kernels that wait does the next front-end run take?

Behind parsed headers a run costs little more than its kernels: about a quarter of the parsing time, since it walks over
all declarations of the headers. A run takes enough kernels to make that part small, and few enough that no other worker
has to wait for it at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from kregistry.compile.costs import Cost, start_seconds

#: Maximum share of a front-end run that may go into walking headers, if enough kernels are waiting.
_START_SHARE = 0.12
#: Maximum duration of a front-end run and of the assembly after it, as a share of the time that all workers still need:
#: estimates are rough.
_LONGEST_SHARE = 0.75


def group_size(costs: Sequence[Cost], seconds_left: float, workers: int, *, complete: bool) -> int:
    """The number of kernels to take.

    Args:
        costs: estimated seconds of the kernels that wait, in the order in which they are taken; at least one.
        seconds_left: estimated seconds until the build ends, if all workers are busy until then.
        workers: number of workers.
        complete: whether no further kernel will come.
    """
    if workers == 1:
        return len(costs)
    start = start_seconds(max(cost.parse for cost in costs))
    front_end, assembly, longest, taken, left = start, 0.0, 0.0, 0.0, sum(cost.code for cost in costs)
    for count, cost in enumerate(costs):
        enough = taken * _START_SHARE >= start and (not complete or (left - taken) * _START_SHARE >= start)
        assembly += cost.assemble
        longest = max(longest, cost.assemble)
        if enough and front_end + cost.generate + max(assembly / workers, longest) > seconds_left * _LONGEST_SHARE:
            return count
        front_end += cost.generate
        taken += cost.code
    return len(costs)
