"""What the kernel types of this family share: where they work, dtypes, and bytes of the logits that come back."""

from __future__ import annotations

from kregistry import ArchSupport, Dimension, Shape, ShapeError
from kregistry_plugins.fp8_gemm.scales import align

ARCHS = (
    ArchSupport("sm90"),
    ArchSupport("sm100"),
    ArchSupport("sm120", ">=0.2", "DeepGEMM 0.1 asserts on the arch (attention.hpp) on sm120"),
)
OPERANDS = Dimension(
    name="operands",
    meaning="queries and keys: fp8 with one scale for each key, or fp4 with powers of two for each 32 columns",
    default="fp8",
    integer=False,
    choices=("fp8", "fp4"),
)
WEIGHTS_DTYPE = Dimension(
    "weights_dtype", "dtype of the head weights", default="float32", integer=False, choices=("float32", "bfloat16")
)
LOGITS_DTYPE = Dimension(
    "logits_dtype", "dtype of the result", default="float32", integer=False, choices=("float32", "bfloat16")
)
#: Rows of logits start at multiples of this many bytes.
_ROW_BYTES = 1024
#: DeepGEMM works on this many keys at once.
_BLOCK_KV = 256


def check_heads(kernel_type: str, shape: Shape) -> None:
    """Refuse the numbers of heads that SM90 has no kernel for."""
    if shape.target.arch == "sm90" and shape.num_heads not in (32, 64):
        text = f"sm90 takes 32 or 64, got {shape.num_heads}"
        raise ShapeError(kernel_type, "num_heads", text, "SGLang pads fewer heads to 32")


def check_dtypes(kernel_type: str, shape: Shape, operands: str) -> None:
    """Refuse combinations of dtypes that DeepGEMM asserts against (attention.hpp)."""
    arch = shape.target.arch
    if operands == "fp4":
        if arch == "sm90":
            raise ShapeError(kernel_type, "operands", "fp4 is refused on sm90", "say fp8")
        if shape.head_dim == 32 or (arch == "sm120" and shape.head_dim != 128):
            wanted = "128" if arch == "sm120" else "64 or 128"
            raise ShapeError(kernel_type, "head_dim", f"fp4 on {arch} takes {wanted}, got {shape.head_dim}")
    if shape.weights_dtype == "bfloat16":
        if arch != "sm100":
            raise ShapeError(kernel_type, "weights_dtype", f"bfloat16 is refused on {arch}", "say float32")
        if shape.logits_dtype != "bfloat16":
            text = "bfloat16 needs logits_dtype bfloat16"
            raise ShapeError(kernel_type, "weights_dtype", text, "say float32, or logits_dtype: bfloat16")


def row_elements(columns: int, dtype: str) -> int:
    """Elements from one row of logits to the next, for a result of that many columns."""
    return int(align(align(columns, _BLOCK_KV), _ROW_BYTES // item_bytes(dtype)))


def room_for_a_block(columns: int) -> int:
    """Columns with room for a last block of keys that starts anywhere."""
    return columns + _BLOCK_KV


def item_bytes(dtype: str) -> int:
    return 4 if dtype == "float32" else 2
