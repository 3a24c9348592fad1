"""The prober: one child for many probes, a new one after whatever went wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_kernel_types import Exits, Prenorm
from shapes import entry_of

from kregistry.errors import MissingRequirement
from kregistry.stub import prober as module
from kregistry.stub.prober import Prober
from kregistry.stub.process import StubProcess
from kregistry.target import TARGETS
from kregistry.toolchain import Toolchain

SHAPE = entry_of(Prenorm()).shape


@pytest.fixture
def prober(toolchain: Toolchain, stub_directory: Path) -> Iterator[Prober]:
    with Prober(toolchain, TARGETS["h100"], stub_directory) as made:
        yield made


def probed(prober: Prober, *values: int) -> list[int]:
    found = prober.probe(Prenorm(), SHAPE, values)
    assert (found.error, found.loaded) == ("", True)
    assert all(each.warm_up.kernels for each in found.values)
    return [each.m for each in found.values]


def test_a_child_that_died_is_followed_by_another(prober: Prober) -> None:
    assert probed(prober, 1, 2) == [1, 2]
    dead = prober.probe(Exits(), SHAPE, [1])
    assert (dead.error, dead.values) == ("the process ended with exit code 7: a last word", ())
    assert probed(prober, 3) == [3]


def test_an_answer_that_was_not_waited_for_is_nobodys(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a test is cut off: the answer comes all the same, and must not be that of the next probe."""
    assert probed(prober, 1) == [1]

    def interrupt(process: StubProcess) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StubProcess, "_receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prober.probe(Prenorm(), SHAPE, [2])
    assert probed(prober, 3) == [3]


def test_an_interrupt_while_the_child_is_closed_closes_the_pool(
    toolchain: Toolchain, stub_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing = StubProcess.close

    def interrupt(process: StubProcess) -> None:
        monkeypatch.setattr(StubProcess, "close", closing)
        closing(process)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Prober(toolchain, TARGETS["h100"], stub_directory) as made:
        assert probed(made, 1) == [1]
        monkeypatch.setattr(StubProcess, "close", interrupt)
    assert made._pool._server.returncode is not None and not made._pool.directory.exists()


def test_after_a_start_that_failed_the_next_probe_tries_anew(
    prober: Prober, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "path", [str(tmp_path), str(Path(module.__file__).parents[2])])
        with pytest.raises(MissingRequirement, match="torch and DeepGEMM do not load on the stub GPU"):
            prober.probe(Prenorm(), SHAPE, [1])
    assert probed(prober, 2) == [2]
