"""The archs of the kernel types of this family, and the bytes of their logits."""

from __future__ import annotations

from kregistry import ArchSupport, Shape, ShapeError
from kregistry_plugins.fp8_gemm.scales import align

_OTHER = "DeepGEMM 0.2.5 has other indexer functions, without clean_logits and logits_dtype"
_OLD = "DeepGEMM 0.1 asserts on the arch (attention.hpp) on sm120"
ARCHS = (
    ArchSupport("sm90", "!=0.2.5", _OTHER),
    ArchSupport("sm100", "!=0.2.5", _OTHER),
    ArchSupport("sm120", ">=0.2,!=0.2.5", f"{_OLD}; {_OTHER}"),
)
#: Of the schedule of paged logits.
METADATA_ARCHS = (
    ArchSupport("sm90"),
    ArchSupport("sm100", "!=0.2.5", "DeepGEMM 0.2.5 asserts next_n == 1 and indices (attention.hpp) on sm100"),
    ArchSupport("sm120", ">=0.2", _OLD),
)
#: Rows of logits start at multiples of this many bytes.
_ROW_BYTES = 1024
#: Keys of one block of the kernel.
BLOCK_KV = 256


def check_heads(kernel_type: str, shape: Shape) -> None:
    """Refuse numbers of heads for which SM90 has no kernel."""
    if shape.target.arch == "sm90" and shape.num_heads not in (32, 64):
        text = f"expected 32 or 64 on sm90, got {shape.num_heads}"
        raise ShapeError(kernel_type, "num_heads", text, "SGLang pads fewer heads to 32")


def row_bytes(columns: int, dtype: str) -> int:
    """Bytes from one row of logits to the next, for a result of that many columns."""
    item = 4 if dtype == "float32" else 2
    return int(item * align(align(columns, BLOCK_KV), _ROW_BYTES // item))
