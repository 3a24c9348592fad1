"""A store and a lock file that kregistry 0.1.0 itself has made: migrated, or refused by what they are.

tests/data/kregistry-0.1.0.tar.gz was made by the last commit before the packages were rearranged (81f7e28), from the
manifest of tests/conftest.py, with ``kregistry build --store store`` and ``kregistry plan -o kernels.lock``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry.plan.plan_file import read_plan
from kregistry.store import Store, old_format, packed
from kregistry.store.cubin import architecture_of, single_kernel
from kregistry.store.garbage import Rules, collect
from kregistry.store.store import OutdatedEntry

MADE = Path(__file__).resolve().parents[1] / "data" / "kregistry-0.1.0.tar.gz"
KEY = "3974917cc91c78f94ceaf4c378f7fd77d40961c499770aea094e24c342a3fbba"
Run = Callable[..., Result]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    shutil.unpack_archive(MADE, tmp_path, filter="data")
    return tmp_path


def test_an_old_store_is_found_and_its_kernels_are_not_used(old: Path) -> None:
    store = Store(old / "store")
    assert old_format.is_outdated(store.directory)
    with pytest.raises(OutdatedEntry, match=r"the format of kregistry 0\.1\.0"):
        store.get(KEY)
    with pytest.raises(OutdatedEntry):
        packed.pack(store, KEY)


def test_opening_an_old_store_removes_its_kernels_and_keeps_the_rest(old: Path) -> None:
    store = Store(old / "store")
    assert (store.open(), store.open()) == (1, 0)
    assert store.get(KEY) is None and (store.directory / "costs.json").is_file()
    assert (store.directory / "format").read_text() == "2\n"


def test_an_old_store_can_be_collected(old: Path) -> None:
    store = Store(old / "store")
    assert [each.key for each in collect(store, Rules(older_than=0), now=4e9).removed] == [KEY]


def test_its_cubin_is_one_of_today(old: Path) -> None:
    content = (old / "store" / "kernels" / KEY[:2] / KEY / "kernel.cubin").read_bytes()
    assert "tf32_hc_prenorm" in single_kernel(content) and architecture_of(content) == 90


def test_an_old_lock_file_is_read(old: Path, kregistry: Run) -> None:
    (kernel,) = read_plan(old / "kernels.lock").kernels.values()
    assert kernel.key == KEY
    arguments = ("--lock", old / "kernels.lock", "--store", old / "store")
    pushed = kregistry("push", f"{old}/remote?unsigned", *arguments)
    assert pushed.code == 1 and pushed.out.startswith("0 of 1 kernels are in")
    built = kregistry("build", *arguments)
    assert built.code == 2 and "a lock file without sources" in built.err
