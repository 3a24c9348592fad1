"""What vLLM needs of other ranks and reads from the device on the host."""

from __future__ import annotations

from typing import Any

from kregistry.rehearsal.patches import patch, replace
from kregistry.rehearsal.replaced import count


@patch("vllm")
def vllm_dummy_weights() -> None:
    """Dummy weights are drawn at random, on the host for some types."""
    from vllm.model_executor.model_loader import dummy_loader

    def draw(*args: Any, **kwargs: Any) -> None:
        count("initialize_single_dummy_weight")

    replace(dummy_loader, "initialize_single_dummy_weight", draw)


@patch("vllm")
def vllm_queues() -> None:
    """Queues of shared memory would wait for the other ranks."""
    from vllm.distributed.device_communicators import shm_broadcast

    from kregistry.rehearsal.patches.ranks import Queue

    replace(shm_broadcast.MessageQueue, "create_from_process_group", staticmethod(lambda *args, **kwargs: Queue()))


@patch("vllm", ">0.26.0")
def vllm_data_parallel() -> None:
    """Data-parallel ranks tell each other their tokens: all have as many as this one, and bring them to its experts."""
    from vllm.distributed.device_communicators.cuda_communicator import CudaCommunicator
    from vllm.v1.worker import dp_utils

    def scatter(self: Any, input_: Any, dim: int, sizes: list[int] | None, output: Any = None) -> Any:
        own = _own_rows(self, input_, dim, sizes)
        return own if output is None else output.copy_(own)

    dp_utils._skip_dp_coordination.set(True)  # vLLM's own way to say that all have as many
    _gather()
    replace(CudaCommunicator, "_reduce_scatterv", scatter, parameters="self input_ dim sizes output")


@patch("vllm", "<=0.26.0")
def vllm_data_parallel_26() -> None:
    """Data-parallel ranks tell each other their tokens; vLLM 0.26 brings results back by a function of its own."""
    from vllm.distributed.device_communicators.cuda_communicator import CudaCommunicator

    def scatter(self: Any, input_: Any, dim: int = -1, sizes: list[int] | None = None) -> Any:
        return _own_rows(self, input_, dim, sizes)

    _exchange()
    _gather()
    replace(CudaCommunicator, "reduce_scatterv", scatter, parameters="self input_ dim sizes")


def _exchange() -> None:
    import torch
    from vllm.v1.worker import dp_utils

    def exchange(
        should_ubatch: bool,
        orig_num_tokens_per_ubatch: int,
        padded_num_tokens_per_ubatch: int,
        cudagraph_mode: int,
        parallel_config: Any,
    ) -> Any:
        own = [orig_num_tokens_per_ubatch, padded_num_tokens_per_ubatch, int(should_ubatch), cudagraph_mode]
        return torch.tensor(own, dtype=torch.int32).view(4, 1).repeat(1, parallel_config.data_parallel_size)

    replace(
        dp_utils,
        "_run_ar",
        exchange,
        parameters="should_ubatch orig_num_tokens_per_ubatch padded_num_tokens_per_ubatch cudagraph_mode "
        "parallel_config",
    )


def _gather() -> None:
    import torch
    from vllm.distributed.device_communicators.cuda_communicator import CudaCommunicator

    def gather(self: Any, input_: Any, dim: int = 0, sizes: list[int] | None = None) -> Any:
        count("vllm all_gatherv")
        if not isinstance(input_, torch.Tensor):
            return [gather(self, each, dim, sizes) for each in input_]
        rows = sum(sizes) if sizes else input_.shape[0] * self.world_size
        return input_.new_empty(rows, *input_.shape[1:])

    replace(CudaCommunicator, "all_gatherv", gather, parameters="self input_ dim sizes")


def _own_rows(communicator: Any, input_: Any, dim: int, sizes: list[int] | None) -> Any:
    """What this rank gets back."""
    count("vllm reduce_scatterv")
    rows = sizes[communicator.rank_in_group] if sizes else input_.shape[dim] // communicator.world_size
    return input_.narrow(dim, 0, rows)
