"""Where kregistry keeps things for a user without a home directory."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from kregistry import user_cache as module
from kregistry.errors import StorageError
from kregistry.store import Store
from kregistry.user_cache import user_cache


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME is unset, and the system does not know the account, as in a container that runs as any user."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME", "KREGISTRY_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_it_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "kregistry"


@pytest.mark.usefixtures("nobody")
def test_the_store_of_a_user_without_a_home_says_so() -> None:
    with pytest.raises(StorageError, match="no-home-directory"):
        Store.default().open()


def test_nothing_is_written_below_the_current_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What older versions of platformdirs answer without a home."""
    monkeypatch.setattr(module, "user_cache_path", lambda name: Path("~/.cache", name))
    assert user_cache().is_absolute()
