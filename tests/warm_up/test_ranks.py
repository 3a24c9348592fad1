"""Ranks: one builds, the others wait."""

from __future__ import annotations

from pathlib import Path

import pytest

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
