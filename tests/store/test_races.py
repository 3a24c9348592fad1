"""Other processes put, replace and remove entries between any two steps of this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kregistry.kernel import Kernel
from kregistry.store import Store, packed
from kregistry.store import store as module
from kregistry.store.store import CUBIN, RECORD

Meanwhile = Callable[[str, Callable[..., object]], None]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """At the first call of a function of the store's module, something else happens before it."""

    def patch(name: str, action: Callable[..., object]) -> None:
        real = getattr(module, name)

        def first(*arguments: Any) -> Any:
            monkeypatch.setattr(module, name, real)
            return action(real, *arguments)

        monkeypatch.setattr(module, name, first)

    return patch


def test_an_entry_that_appears_while_it_is_looked_for_is_not_damaged(
    store: Store, kernel: Kernel, cubin: bytes, meanwhile: Meanwhile
) -> None:
    def absent_until_now(read: Callable[..., bytes], path: Path) -> None:
        try:
            read(path)
        finally:
            store.put(kernel, cubin, "nvcc", 1.0)

    meanwhile("read_bounded", absent_until_now)
    assert store.get(kernel.key) is not None


def test_an_entry_that_is_replaced_while_it_is_read_is_not_damaged(
    store: Store, kernel: Kernel, cubin: bytes, meanwhile: Meanwhile
) -> None:
    def replaced(read: Callable[..., bytes], path: Path) -> bytes:
        record = read(path)
        store.discard(kernel.key)
        store.put(kernel, cubin, "nvcc", 1.0)
        return record

    store.put(kernel, cubin + b"\0", "nvcc", 1.0)
    meanwhile("read_bounded", replaced)
    found = store.content(kernel.key)
    assert found is not None and found.cubin == cubin


def test_an_entry_that_is_removed_after_it_was_read_is_packed_whole(
    store: Store, kernel: Kernel, cubin: bytes, meanwhile: Meanwhile
) -> None:
    def removed(check: Callable[[bytes], str], content: bytes) -> str:
        store.discard(kernel.key)
        return check(content)

    store.put(kernel, cubin, "nvcc", 1.0)
    meanwhile("single_kernel", removed)
    content = packed.pack(store, kernel.key)
    assert content is not None and packed.unpack(kernel.key, content).cubin == cubin
    assert packed.pack(store, kernel.key) is None


def harm(store: Store, key: str) -> None:
    (store.entry(key) / CUBIN).unlink()


def test_a_damaged_entry_is_removed_and_one_that_has_replaced_it_stays(
    store: Store, kernel: Kernel, cubin: bytes
) -> None:
    store.put(kernel, cubin, "nvcc", 1.0)
    harm(store, kernel.key)
    store.discard_damaged(kernel.key)
    assert not store.entry(kernel.key).exists()
    store.discard_damaged(kernel.key)
    store.put(kernel, cubin, "nvcc", 1.0)
    store.discard_damaged(kernel.key)
    assert store.get(kernel.key) is not None


def test_an_entry_that_replaces_a_damaged_one_at_the_last_moment_stays(
    store: Store, kernel: Kernel, cubin: bytes, meanwhile: Meanwhile
) -> None:
    def judged_before(_: Callable[..., bool], *__: object) -> bool:
        store.discard(kernel.key)
        store.put(kernel, cubin, "nvcc", 1.0)
        return False

    store.put(kernel, cubin, "nvcc", 1.0)
    harm(store, kernel.key)
    meanwhile("_is_intact", judged_before)
    store.discard_damaged(kernel.key)
    assert store.get(kernel.key) is not None
    assert {path.name for path in store.entry(kernel.key).iterdir()} == {CUBIN, RECORD}
    assert list((store.directory / "tmp").iterdir()) == []
