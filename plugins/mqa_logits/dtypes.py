"""Combinations of dtypes that the functions called ``fp8_fp4_...`` take, as dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from kregistry import ArchSupport, Dimension, Shape, ShapeError, Value
from kregistry_plugins import calls

if TYPE_CHECKING:
    import torch

OPERANDS = Dimension(
    name="operands",
    meaning="queries and keys: fp8 with one scale for each key, or fp4 with a power of two for each 32 columns",
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


MXFP8_ARCHS = (
    ArchSupport("sm90", "none", "sm90 has no kernels for packed scale factors"),
    ArchSupport("sm100", ">=0.2", "DeepGEMM 0.1 takes packed scale factors with FP4 only"),
    ArchSupport("sm120", "none", "DeepGEMM takes the call and uses the kernel of FP32 scale factors for it"),
)


def parts_of(q: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Data and packed powers of two of the queries of a real call; DeepGEMM 0.2 takes the data alone too."""
    return (q[0], q[1]) if isinstance(q, (tuple, list)) else (q, None)


class MixedDtypes:
    """The part of a kernel type that knows its dtypes."""

    name: ClassVar[str]
    #: Words of operands.py that the kernel type takes; several of them are the dimension ``operands``.
    forms: ClassVar[tuple[str, ...]]

    def operands(self, shape: Shape) -> str:
        return str(shape.operands) if len(self.forms) > 1 else self.forms[0]

    def logits_dtype(self, shape: Shape) -> str:
        return str(shape.logits_dtype)

    def check_dtypes(self, shape: Shape) -> None:
        """Refuse combinations that DeepGEMM asserts against (attention.hpp)."""
        arch = shape.target.arch
        if self.operands(shape) == "fp4":
            if arch == "sm90":
                raise ShapeError(self.name, "operands", "fp4 is refused on sm90", "say fp8")
            taken = (128,) if arch == "sm120" else (64, 128)
            if shape.head_dim not in taken:
                words = " or ".join(map(str, taken))
                raise ShapeError(self.name, "head_dim", f"fp4 on {arch} takes {words}, got {shape.head_dim}")
        if shape.weights_dtype == "bfloat16":
            if arch != "sm100":
                raise ShapeError(self.name, "weights_dtype", f"bfloat16 is refused on {arch}", "say float32")
            if shape.logits_dtype != "bfloat16":
                hint = "say float32, or logits_dtype: bfloat16"
                raise ShapeError(self.name, "weights_dtype", "bfloat16 needs logits_dtype bfloat16", hint)

    def read_dtypes(self, q: Any, weights: torch.Tensor, logits_dtype: torch.dtype | None) -> Mapping[str, Value]:
        """Dimensions that the queries, weights and result of a real call show.

        Raises:
            ShapeError: queries of a form that another kernel type takes.
        """
        data, scale = parts_of(q)
        packed = calls.dtype_of(data) == "int8"
        form = "fp4" if packed else "fp8" if scale is None else "mxfp8"
        calls.belongs(self.name, "queries", form, self.forms)
        found: dict[str, Value] = {"operands": form} if len(self.forms) > 1 else {}
        return {
            **found,
            "num_heads": data.shape[-2],
            "head_dim": data.shape[-1] * (2 if packed else 1),
            "weights_dtype": calls.dtype_of(weights),
            "logits_dtype": "float32" if logits_dtype is None else str(logits_dtype).removeprefix("torch."),
        }
