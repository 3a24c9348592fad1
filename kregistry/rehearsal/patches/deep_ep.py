"""DeepEP without other ranks: a module that answers what dispatch would bring to rank 0."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from kregistry.rehearsal.patches import patch
from kregistry.rehearsal.replaced import count

#: DeepEP pads the rows of each expert to this, as SGLang asks for.
_FP8 = "float8_e4m3fn"


class _Config:
    """Sizes of DeepEP's buffers; there are none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def get_nvl_buffer_size_hint(self, *args: Any) -> int:
        return 0

    def get_rdma_buffer_size_hint(self, *args: Any) -> int:
        return 0


class _Event:
    """An event that has happened."""

    def current_stream_wait(self) -> None:
        pass


class _Buffer:
    """DeepEP's buffer of rank 0, where every rank sends what this one sends.

    A dispatch of one token brings one row to one expert: the least that there is. Any other brings each token of each
    rank to as many experts here as it has, all but one row for each other expert to the first one: the most rows, with
    padding, that can come.
    """

    num_sms = 20
    most_tokens: int | None = None

    def __init__(self, group: Any, num_nvl_bytes: int = 0, num_rdma_bytes: int = 0, **options: Any) -> None:
        self.group_size = group.size()
        self.low_latency_mode = bool(options.get("low_latency_mode"))

    @staticmethod
    def set_num_sms(number: int) -> None:
        _Buffer.num_sms = number

    @staticmethod
    def capture() -> _Event:
        return _Event()

    @staticmethod
    def get_dispatch_config(ranks: int) -> _Config:
        return _Config()

    @staticmethod
    def get_combine_config(ranks: int) -> _Config:
        return _Config()

    @staticmethod
    def get_low_latency_rdma_size_hint(*args: Any) -> int:
        return 0

    def clean_low_latency_buffer(self, *args: Any) -> None:
        pass

    def get_dispatch_layout(self, topk_idx: Any, num_experts: int, **options: Any) -> tuple[Any, ...]:
        self._experts = num_experts // self.group_size
        return None, None, None, None, _Event()

    def dispatch(
        self, x: Any, *, topk_idx: Any, topk_weights: Any, expert_alignment: int = 1, **options: Any
    ) -> tuple[Any, ...]:
        count("deep_ep dispatch")
        tokens, top_k = topk_idx.shape
        rows = tokens * self.group_size if tokens > 1 else tokens
        taken = rows * min(top_k, self._experts) if tokens > 1 else tokens
        others = min(self._experts - 1, taken - 1) if tokens > 1 else 0
        sizes = [taken - others, *[1] * others] if taken else []
        padded = [-(-size // expert_alignment) * expert_alignment for size in sizes]
        padded += [0] * (self._experts - len(padded))
        grown = tuple(_rows(each, rows) for each in x) if isinstance(x, tuple) else _rows(x, rows)
        return grown, _rows(topk_idx, rows), _rows(topk_weights, rows), padded, None, _Event()

    def combine(self, x: Any, handle: Any = None, topk_weights: Any = None, **options: Any) -> tuple[Any, ...]:
        count("deep_ep combine")
        rows = x.shape[0] // self.group_size or x.shape[0]
        return x[:rows], topk_weights, _Event()

    def low_latency_dispatch(
        self, x: Any, topk_idx: Any, most_tokens: int, num_experts: int, use_fp8: bool = True, **options: Any
    ) -> tuple[Any, ...]:
        import torch

        count("deep_ep low_latency_dispatch")
        _Buffer.most_tokens = most_tokens
        if x.shape[0] > most_tokens:  # as DeepEP itself
            raise ValueError(f"DeepEP dispatches at most {most_tokens} tokens of a rank, and has got {x.shape[0]}")
        experts, rows, hidden = num_experts // self.group_size, most_tokens * self.group_size, x.shape[1]
        self._sent = x.shape
        counts = torch.zeros(experts, dtype=torch.int32, device="cuda")
        if not use_fp8:
            got: Any = torch.empty(experts, rows, hidden, dtype=x.dtype, device="cuda")
        elif options.get("use_ue8m0"):
            scales = torch.empty(experts, hidden // 512, rows, dtype=torch.int32, device="cuda").transpose(1, 2)
            got = torch.empty(experts, rows, hidden, dtype=getattr(torch, _FP8), device="cuda"), scales
        else:
            scales = torch.empty(experts, hidden // 128, rows, device="cuda").transpose(1, 2)
            got = torch.empty(experts, rows, hidden, dtype=getattr(torch, _FP8), device="cuda"), scales
        return got, counts, None, _Event(), lambda: None

    def low_latency_combine(self, x: Any, *args: Any, **options: Any) -> tuple[Any, ...]:
        import torch

        count("deep_ep low_latency_combine")
        return torch.empty(self._sent, dtype=torch.bfloat16, device="cuda"), _Event(), lambda: None


def most_dispatched_tokens() -> int | None:
    """The most tokens of a rank that a low-latency dispatch takes; ``None``: there was no such dispatch."""
    return _Buffer.most_tokens


def _rows(tensor: Any, rows: int) -> Any:
    """A tensor with that many rows, in the layout of the given one."""
    if tensor.dim() == 2 and tensor.stride(0) == 1 and tensor.shape[0] > 1:
        return tensor.new_empty(tensor.shape[1], rows).t()
    return tensor.new_empty(rows, *tensor.shape[1:])


@patch("deep_ep")
def deep_ep_buffers() -> None:
    """DeepEP needs the other ranks, and is not installed on most machines without a GPU."""
    module = ModuleType("deep_ep")
    vars(module).update(Buffer=_Buffer, Config=_Config)
    sys.modules["deep_ep"] = module
