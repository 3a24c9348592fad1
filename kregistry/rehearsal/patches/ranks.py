"""One process is rank 0 of any number of ranks: collectives do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kregistry.rehearsal.patches import patch, replace
from kregistry.rehearsal.replaced import count


@patch("torch")
def process_groups() -> None:
    """There are no other ranks: torch's own "fake" process group takes their place."""
    import torch.distributed as dist
    from torch.distributed import distributed_c10d
    from torch.testing._internal.distributed.fake_pg import FakeStore

    own_init, own_new = dist.init_process_group, dist.new_group

    def init_process_group(
        backend: Any = None,
        init_method: Any = None,
        timeout: Any = None,
        world_size: int = -1,
        rank: int = -1,
        store: Any = None,
        **rest: Any,
    ) -> Any:
        return own_init(backend="fake", store=FakeStore(), world_size=max(world_size, 1), rank=max(rank, 0))

    def new_group(ranks: Any = None, timeout: Any = None, backend: Any = None, **rest: Any) -> Any:
        return own_new(ranks=ranks, backend="fake")

    def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
        object_list[:] = [obj] * len(object_list)

    def broadcast_object_list(object_list: list[Any], *args: Any, **kwargs: Any) -> None:
        pass

    def barrier(*args: Any, **kwargs: Any) -> None:
        count("torch.distributed barrier")

    for name, new in (
        ("init_process_group", init_process_group),
        ("new_group", new_group),
        ("all_gather_object", all_gather_object),
        ("broadcast_object_list", broadcast_object_list),
        ("monitored_barrier", barrier),
        ("barrier", barrier),
    ):
        replace(distributed_c10d, name, new)
        replace(dist, name, new)


class Queue:
    """A queue of shared memory with one process."""

    def broadcast_object(self, obj: Any = None) -> Any:
        return obj

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


@patch("sglang", ">0.5.16")
def sglang_communicators() -> None:
    """NCCL would wait for the other ranks."""
    _no_nccl("self group device library_path is_symmetric_memory_enabled cta_policy")


@patch("sglang", "<=0.5.16")
def sglang_communicators_16() -> None:
    """NCCL would wait for the other ranks; SGLang 0.5.16 gives it fewer options."""
    _no_nccl("self group device library_path")


def _no_nccl(parameters: str) -> None:
    from sglang.srt.distributed.device_communicators import pynccl

    def init(self: Any, group: Any, device: Any, *args: Any, **kwargs: Any) -> None:
        self.disabled, self.available = True, False
        self.world_size, self.rank, self.group, self.device = 1, 0, group, device

    replace(pynccl.PyNcclCommunicator, "__init__", init, parameters=parameters)


@patch("sglang")
def sglang_queues() -> None:
    """Queues of shared memory would wait for the other ranks."""
    from sglang.srt.distributed.device_communicators import shm_broadcast

    replace(shm_broadcast.MessageQueue, "create_from_process_group", staticmethod(lambda *args, **kwargs: Queue()))


_IDLE = False


@contextmanager
def others_idle() -> Iterator[None]:
    """Within this, the other ranks of data-parallel attention have no request. SGLang up to 0.5.16 takes no notice."""
    global _IDLE
    _IDLE = True
    try:
        yield
    finally:
        _IDLE = False


@patch("sglang", ">0.5.16")
def sglang_attention_ranks() -> None:
    """Ranks of data-parallel attention tell each other their tokens: all have as many as this one, or are idle."""
    from sglang.srt.managers.scheduler_components import dp_attn

    def exchange(global_flat: Any, local_row: Any, group: Any) -> None:
        rows = global_flat.view(-1, local_row.numel())  # each is that of an idle rank
        rows[: 1 if _IDLE else len(rows)] = local_row

    own = dp_attn.MLPSyncBatchInfo.all_gather

    def all_gather(self: Any, device: Any, group: Any, use_all_reduce: bool = False) -> Any:
        return own(self, "cpu", group)

    replace(dp_attn, "exchange_sync_rows", exchange, parameters="global_flat local_row group")
    replace(dp_attn.MLPSyncBatchInfo, "all_gather", all_gather, parameters="self device group use_all_reduce")


@patch("sglang", "<=0.5.16,>0.5.15.post1")
def sglang_attention_ranks_16() -> None:
    """Ranks of data-parallel attention tell each other their tokens, in SGLang 0.5.16 by torch's own function."""
    _gather_own_tokens("self device group use_all_reduce")


@patch("sglang", "<=0.5.15.post1")
def sglang_attention_ranks_15() -> None:
    """Ranks of data-parallel attention tell each other their tokens, in SGLang 0.5.15 by torch's own function."""
    _gather_own_tokens("self device group")


def _gather_own_tokens(parameters: str) -> None:
    import torch.distributed as dist
    from sglang.srt.managers.scheduler_components import dp_attn

    own, own_gather = dp_attn.MLPSyncBatchInfo.all_gather, dist.all_gather_into_tensor

    def all_gather(self: Any, device: Any, group: Any, use_all_reduce: bool = False) -> Any:
        return own(self, "cpu", group)

    def all_gather_into_tensor(output: Any, row: Any, *args: Any, **kwargs: Any) -> Any:
        if output.device.type != "cpu":
            return own_gather(output, row, *args, **kwargs)
        output.view(-1, row.numel())[:] = row

    replace(dp_attn.MLPSyncBatchInfo, "all_gather", all_gather, parameters=parameters)
    replace(dist, "all_gather_into_tensor", all_gather_into_tensor)
