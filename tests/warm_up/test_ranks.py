"""Ranks: one builds, the others wait."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kregistry.errors import WarmupError
from kregistry.warm_up.ranks import Ranks


def test_alone() -> None:
    alone = Ranks.from_options(None, None)
    assert alone.builds and alone.barrier() is None


@pytest.mark.parametrize(("rank", "builds"), [(0, True), (1, False), (7, False), (None, True)])
def test_rank_0_builds(rank: int | None, builds: bool) -> None:
    assert Ranks.from_options(rank, lambda: None).builds is builds


@pytest.mark.stub
def test_torch_distributed(tmp_path: Path) -> None:
    import torch.distributed as distributed

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        own = Ranks.from_options(None, "torch.distributed")
        assert own.rank == 0 and own.builds
        own.barrier()
        assert Ranks.from_options(3, "torch.distributed").rank == 3
    finally:
        distributed.destroy_process_group()


def test_a_barrier_that_never_returns_has_a_limit() -> None:
    never = threading.Event()
    ranks = Ranks.from_options(3, never.wait, 0.05)
    with pytest.raises(WarmupError, match=r"rank 3 has waited 0\.05 s in the barrier"):
        ranks.wait()
    never.set()


def test_an_error_of_the_barrier_is_raised() -> None:
    def broken() -> None:
        raise ConnectionError("a rank is gone")

    with pytest.raises(ConnectionError, match="a rank is gone"):
        Ranks.from_options(1, broken).wait()


def test_a_rank_that_fails_before_the_barrier_releases_the_others() -> None:
    barrier = threading.Barrier(2)
    other = threading.Thread(target=Ranks.from_options(0, barrier.wait).wait)
    other.start()
    ranks = Ranks.from_options(1, barrier.wait)
    with pytest.raises(ZeroDivisionError), ranks.released_after_failure():
        raise ZeroDivisionError
    other.join(60)
    assert not other.is_alive()


def test_a_failure_after_the_barrier_does_not_wait_again() -> None:
    passed: list[int] = []
    ranks = Ranks.from_options(0, lambda: passed.append(1))
    with pytest.raises(ZeroDivisionError), ranks.released_after_failure():
        ranks.wait()
        raise ZeroDivisionError
    assert passed == [1]


def test_a_rank_that_waits_says_whom_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kregistry.warm_up.ranks.FIRST_LINE_SECONDS", 0.05)
    monkeypatch.setattr("kregistry.warm_up.ranks.NEXT_LINE_SECONDS", 0.05)

    def until(lines: int) -> Callable[[], None]:
        def barrier() -> None:
            while len(caplog.records) < lines:
                time.sleep(0.01)

        return barrier

    Ranks(3, until(2), 200).wait()
    lines = [each.getMessage() for each in caplog.records]
    form = r"rank 3 has waited \d+ s for rank 0, which builds \(at most 200 s\)"
    assert all(re.fullmatch(form, line) for line in lines), lines
    caplog.clear()
    Ranks(0, until(1), 200).wait()
    assert re.search(r"rank 0 has waited \d+ s for the other ranks \(at most 200 s\)", caplog.text)
