"""Kernels are removed by age, size and name, and never the ones that are named to stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trees import tree

from kregistry.store import Store
from kregistry.store.garbage import YOUNG_SECONDS, Rules, collect
from kregistry.store.store import CUBIN, RECORD

DAY = 86400.0
NOW = 1_780_000_000.0
KEYS = [f"{number:064x}" for number in range(4)]


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """Four kernels of 100 bytes, last used 0, 10, 20 and 30 days ago, and a plan of 20 days ago."""
    store = Store(tmp_path / "store")
    for number, key in enumerate(KEYS):
        entry = store.entry(key)
        entry.mkdir(parents=True)
        (entry / RECORD).write_text("{}")
        (entry / CUBIN).write_bytes(bytes(100))
        used(entry / RECORD, 10 * number * DAY)
    plan = store.directory / "plans" / f"{'a' * 32}.json"
    plan.parent.mkdir()
    plan.write_text("{}")
    used(plan, 20 * DAY)
    return store


def used(path: Path, ago: float) -> None:
    os.utime(path, (NOW - ago, NOW - ago))


def left(store: Store) -> list[int]:
    return [number for number, key in enumerate(KEYS) if store.entry(key).exists()]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(), [0, 1, 2, 3]),
        (Rules(older_than=15 * DAY), [0, 1]),
        (Rules(older_than=0), [0]),
        (Rules(older_than=15 * DAY, keep={KEYS[3]}), [0, 1, 3]),
        (Rules(max_bytes=400), [0, 1, 2, 3]),
        (Rules(max_bytes=399), [0, 1, 2]),
        (Rules(max_bytes=150), [0]),
        (Rules(max_bytes=0), [0]),
        (Rules(max_bytes=200, keep={KEYS[3]}), [0, 3]),
        (Rules(max_bytes=0, keep=set(KEYS)), [0, 1, 2, 3]),
        (Rules(chosen={KEYS[1], "f" * 64}), [0, 2, 3]),
        (Rules(chosen=set(KEYS), keep={KEYS[1]}), [0, 1]),
        (Rules(older_than=25 * DAY, max_bytes=250), [0, 1]),
    ],
)
def test_rules(old: Store, rules: Rules, expected: list[int]) -> None:
    before = tree(old.directory)
    planned = collect(old, rules, dry_run=True, now=NOW)
    assert tree(old.directory) == before
    done = collect(old, rules, now=NOW)
    assert (left(old), planned) == (expected, done)
    assert (done.kernels, done.nbytes) == (len(expected), 100 * len(expected))
    assert done.removed_bytes == 100 * len(done.removed) == 100 * (4 - len(expected))
    assert done.files == (rules.older_than is not None and rules.older_than < 20 * DAY)


def test_a_kernel_whose_use_was_noted_stays(old: Store) -> None:
    old.note_use(KEYS[3])
    collect(old, Rules(older_than=15 * DAY), now=NOW)
    assert left(old) == [0, 1, 3]
    before = (old.entry(KEYS[3]) / RECORD).stat().st_mtime_ns
    old.note_use(KEYS[3])
    old.note_use("f" * 64)
    assert (old.entry(KEYS[3]) / RECORD).stat().st_mtime_ns == before


def test_what_is_young_stays_for_a_build_that_runs(old: Store) -> None:
    used(old.entry(KEYS[3]) / RECORD, YOUNG_SECONDS - 1)
    collect(old, Rules(older_than=0, max_bytes=0, chosen=set(KEYS)), now=NOW)
    assert left(old) == [0, 3]


def test_a_link_to_a_removed_kernel_stays(old: Store, tmp_path: Path) -> None:
    """DeepGEMM's JIT cache holds links of its own."""
    os.link(old.entry(KEYS[3]) / CUBIN, tmp_path / "jit.cubin")
    collect(old, Rules(older_than=15 * DAY), now=NOW)
    assert (tmp_path / "jit.cubin").read_bytes() == bytes(100)
