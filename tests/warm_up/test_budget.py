"""Memory budgets: what is understood, and what is refused rather than guessed."""

from __future__ import annotations

import pytest

from kregistry.errors import InputError
from kregistry.warm_up import MemoryBudget

GIB = 1 << 30
NUMBERS = (0, -1, 0.0, 1.5, -0.5, float("nan"), float("inf"), True, False)
TEXTS = ("", "0", "1.5", "150%", "0%", "much", "2G", "0.5G", "2GiBB", "1.2.3GiB", ".", "-1GiB", "0GiB", "0.1B", "5I")


@pytest.mark.parametrize(
    ("value", "budget"),
    [
        (0.5, MemoryBudget(fraction=0.5)),
        (1.0, MemoryBudget(fraction=1.0)),
        ("0.9", MemoryBudget(fraction=0.9)),
        (".5", MemoryBudget(fraction=0.5)),
        ("1", MemoryBudget(fraction=1.0)),
        ("50%", MemoryBudget(fraction=0.5)),
        (" 12.5 % ", MemoryBudget(fraction=0.125)),
        (1 << 20, MemoryBudget(nbytes=1 << 20)),
        ("1048576", MemoryBudget(nbytes=1 << 20)),
        ("2GiB", MemoryBudget(nbytes=2 * GIB)),
        ("2 gib", MemoryBudget(nbytes=2 * GIB)),
        ("1.5GB", MemoryBudget(nbytes=1_500_000_000)),
        ("0.5GiB", MemoryBudget(nbytes=GIB // 2)),
        ("300MB", MemoryBudget(nbytes=300_000_000)),
        ("4KiB", MemoryBudget(nbytes=4096)),
        ("10B", MemoryBudget(nbytes=10)),
    ],
)
def test_what_is_understood(value: float | int | str, budget: MemoryBudget) -> None:
    assert MemoryBudget.parse(value) == budget


@pytest.mark.parametrize(
    "value",
    [*NUMBERS, *TEXTS],
)
def test_what_is_refused(value: float | int | str) -> None:
    with pytest.raises(InputError) as caught:
        MemoryBudget.parse(value)
    assert caught.value.message == (
        f"memory budget: expected a fraction in (0, 1], a percentage or a positive number of bytes, got {value!r}"
    )
    assert caught.value.hint == "e.g. 0.5, 50% or 2GiB; units: B, KB, MB, GB, KiB, MiB, GiB"


@pytest.mark.parametrize(
    ("budget", "free", "limit"),
    [
        (MemoryBudget(fraction=0.5), 1000, 500),
        (MemoryBudget(fraction=1.0), 1000, 1000),
        (MemoryBudget(nbytes=300), 1000, 300),
        (MemoryBudget(nbytes=3000), 1000, 1000),
    ],
)
def test_the_limit_is_never_more_than_what_is_free(budget: MemoryBudget, free: int, limit: int) -> None:
    assert budget.limit(free) == limit
