"""SGLang's scheduler, as each generation of its releases makes and asks it."""

from __future__ import annotations

from typing import Any

from packaging.version import Version

#: The last release whose scheduler takes its ranks as arguments.
_RANKS_AS_ARGUMENTS = Version("0.5.16")
#: The last release whose scheduler keeps the running batch itself.
_ONE_BATCH = Version("0.5.15.post1")


def release(version: str) -> Release:
    """How to use the scheduler of a version of SGLang."""
    parsed = Version(version)
    if parsed <= _ONE_BATCH:
        return ReleaseTo15()
    return ReleaseTo16() if parsed <= _RANKS_AS_ARGUMENTS else Release()


class Release:
    """SGLang 0.5.23, whose context has the ranks and the resolved arguments."""

    def arguments(self, words: list[str]) -> Any:
        """The server's arguments, resolved: the backends are chosen."""
        from sglang.srt.server_args import prepare_server_args

        arguments: Any = prepare_server_args(words)
        arguments.resolve_once()
        return arguments

    def graphs(self, arguments: Any) -> Any:
        """The settings of CUDA graphs of decode steps."""
        from sglang.srt.arg_groups.overrides import resolving_view

        return resolving_view(arguments).cuda_graph_config.decode

    def scheduler(self, arguments: Any, dp_rank: int | None, rank: int = 0) -> Any:
        """The scheduler of a rank, with the model and its caches."""
        from sglang.srt.managers.scheduler import Scheduler
        from sglang.srt.runtime_context import SpawnRanks, publish
        from sglang.srt.server_args import PortArgs

        publish(arguments, role="scheduler", ranks=SpawnRanks(world_rank=rank, dp_rank=dp_rank, gpu_id=0))
        return Scheduler(arguments, PortArgs.init_new(arguments))

    def chunk(self, arguments: Any) -> int | None:
        """The most tokens of a prefill."""
        from sglang.srt.runtime_context import get_schedule

        size: int | None = get_schedule().chunked_prefill_size
        return size

    def next_batch(self, scheduler: Any) -> Any:
        """The batch that is to run now; ``None``: there is none."""
        plan = scheduler.get_next_batch_to_run(running_batch=scheduler.running_batch, last_batch=scheduler.last_batch)
        scheduler.running_batch = plan.running_batch
        return plan.batch_to_run


class ReleaseTo16(Release):
    """SGLang 0.5.16: arguments are resolved when they are made, and the scheduler takes its ranks."""

    def arguments(self, words: list[str]) -> Any:
        from sglang.srt.server_args import prepare_server_args

        return prepare_server_args(words)

    def graphs(self, arguments: Any) -> Any:
        return arguments.cuda_graph_config.decode

    def scheduler(self, arguments: Any, dp_rank: int | None, rank: int = 0) -> Any:
        from sglang.srt.managers.scheduler import Scheduler
        from sglang.srt.server_args import PortArgs, set_global_server_args_for_scheduler

        set_global_server_args_for_scheduler(arguments)
        names = ("gpu_id", "tp_rank", "moe_ep_rank", "pp_rank", "attn_cp_rank", "moe_dp_rank")
        ranks = {**dict.fromkeys(names, 0), "tp_rank": rank}
        return Scheduler(arguments, PortArgs.init_new(arguments), **ranks, dp_rank=dp_rank)

    def chunk(self, arguments: Any) -> int | None:
        size: int | None = arguments.chunked_prefill_size
        return size


class ReleaseTo15(ReleaseTo16):
    """SGLang 0.5.15: the scheduler keeps the running batch."""

    def next_batch(self, scheduler: Any) -> Any:
        return scheduler.get_next_batch_to_run()
