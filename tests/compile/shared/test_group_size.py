"""How many kernels one front-end run takes."""

from __future__ import annotations

from kregistry.compile.costs import Cost
from kregistry.compile.shared.group_size import group_size

GIANT = Cost(parse=1.4, generate=1.7, assemble=2.6)
SMALL = Cost(parse=1.4, generate=0.4, assemble=0.4)


def test_a_giant_is_assembled_only_after_its_whole_run() -> None:
    """Two giants in one run would be generated one after the other, and assembled when all other workers are done."""
    assert group_size([GIANT, GIANT, *[SMALL] * 60], 7.0, 16, complete=False) == 1
    assert group_size([GIANT, GIANT, *[SMALL] * 60], 70.0, 16, complete=False) > 2


def test_one_worker_takes_all() -> None:
    assert group_size([GIANT, GIANT, SMALL], 9.4, 1, complete=True) == 3


def test_the_start_of_a_run_is_a_small_part_of_it() -> None:
    count = group_size([SMALL] * 60, 3.0, 16, complete=True)
    assert count * SMALL.code * 0.12 >= 0.25 * SMALL.parse > (count - 1) * SMALL.code * 0.12
