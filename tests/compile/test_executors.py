"""``build --on URL``: which plugin gives the executor, and what is said where none does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest
from command_line import Result

from kregistry.compile.executors import open_executor
from kregistry.errors import InputError, KregistryError, MissingRequirement, PluginError
from kregistry.event_bus import EventBus
from kregistry.hookspecs import hookimpl


class Offering:
    """A plugin whose hook gives or raises something."""

    def __init__(self, gift: object) -> None:
        self.gift = gift

    @hookimpl
    def kregistry_executor(self, url: str) -> object:
        if not url.startswith("mine://"):
            return None
        if isinstance(self.gift, BaseException):
            raise self.gift
        return self.gift


def bus(*gifts: object) -> EventBus:
    made = EventBus()
    for gift in gifts:
        made.listen(Offering(gift))
    return made


def test_a_plugin_gives_the_executor_and_the_block_ends_it() -> None:
    threads = ThreadPoolExecutor(1)
    with open_executor("mine://x", bus(ValueError("not me"), threads)) as executor:
        assert executor is threads
    with pytest.raises(RuntimeError, match="after shutdown"):
        threads.submit(int)


def test_an_error_cancels_what_has_not_begun() -> None:
    ended: list[tuple[bool, bool]] = []

    class Recorded(Executor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            ended.append((wait, cancel_futures))

    with pytest.raises(KeyboardInterrupt), open_executor("mine://x", bus(Recorded())):
        raise KeyboardInterrupt
    assert ended == [(False, True)]


@pytest.mark.parametrize(
    ("url", "gift", "error", "found"),
    [
        ("head:8786", None, InputError, "--on head:8786: expected the URL of a cluster\nhint: dask://HOST:8786, "),
        ("other://x", None, InputError, "no plugin offers an executor for other://"),
        ("mine://u:secret@x", ImportError("no mine"), MissingRequirement, "--on mine://x: no mine"),
        ("mine://x", OSError("refused"), MissingRequirement, "the cluster cannot be used: OSError: refused"),
        ("mine://x", SystemExit(3), MissingRequirement, "the cluster cannot be used: SystemExit: 3"),
        ("mine://x", 5, PluginError, "kregistry_executor() gave a int\nhint: expected a concurrent.futures.Executor"),
    ],
)
def test_where_there_is_no_executor(url: str, gift: object, error: type[KregistryError], found: str) -> None:
    with pytest.raises(error) as caught, open_executor(url, bus(gift)):
        pass
    assert found in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize(("scheme", "package"), [("dask", "distributed"), ("ray", "ray"), ("slurm", "submitit")])
def test_a_package_that_is_not_installed_is_named(
    kregistry: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, scheme: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = kregistry("build", "--lock", "kernels.lock", "--on", f"{scheme}://head:1")
    assert (result.code, f"import of {package} halted" in result.err) == (3, True)
    assert f"pip install '.[{scheme}]'" in result.err
