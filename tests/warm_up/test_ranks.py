"""Ranks: one builds, the others wait, all take what it shares."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kregistry.errors import IncompleteError, StorageError
from kregistry.warm_up.ranks import Ranks, share, take


def test_alone() -> None:
    alone = Ranks.of(None, None)
    assert alone.builds and alone.barrier() is None


@pytest.mark.parametrize(("rank", "builds"), [(0, True), (1, False), (7, False), (None, True)])
def test_rank_0_builds(rank: int | None, builds: bool) -> None:
    assert Ranks.of(rank, lambda: None).builds is builds


@pytest.mark.stub
def test_torch_distributed(tmp_path: Path) -> None:
    import torch.distributed as distributed

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        own = Ranks.of(None, "torch.distributed")
        assert own.rank == 0 and own.builds
        own.barrier()
        assert Ranks.of(3, "torch.distributed").rank == 3
    finally:
        distributed.destroy_process_group()


def test_all_ranks_take_what_rank_0_shares(tmp_path: Path) -> None:
    path, barrier = tmp_path / "plans" / "x.json", threading.Barrier(3)
    content = {"kernels": 2, "points": [[[1, ["a", "b"]]]]}
    taken = []

    def run(rank: int) -> None:
        ranks = Ranks.of(rank, barrier.wait)
        if ranks.builds:
            share(path, content)
        ranks.barrier()
        taken.append(take(path))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [content] * 3
    assert [each.name for each in path.parent.iterdir()] == ["x.json"]


def test_nothing_was_shared(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError) as caught:
        take(tmp_path / "x.json")
    assert str(caught.value) == f"rank 0 left no plan at {tmp_path}/x.json\nhint: its own message says why"


def test_a_directory_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"Not a directory|File exists"):
        share(tmp_path / "file" / "x.json", {})
    with pytest.raises(StorageError, match="Is a directory"):
        take(tmp_path)
