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
