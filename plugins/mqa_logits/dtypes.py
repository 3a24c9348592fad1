"""The dtypes that the ``fp8_fp4_...`` functions accept, as dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from kregistry import ArchSupport, Arguments, Choice, Shape, ShapeError, Value
from kregistry_plugins import calls
from kregistry_plugins.mqa_logits.operands import parts_of

if TYPE_CHECKING:
    pass

OPERANDS = Choice(
    "operands",
    "queries and keys: fp8 with one scale for each key, or fp4 with a power of two for each 32 columns",
    ("fp8", "fp4"),
    default="fp8",
)
WEIGHTS_DTYPE = Choice("weights_dtype", "dtype of the head weights", ("float32", "bfloat16"), default="float32")
LOGITS_DTYPE = Choice("logits_dtype", "dtype of the result", ("float32", "bfloat16"), default="float32")


MXFP8_ARCHS = (
    ArchSupport("sm90", "none", "sm90 has no kernels for packed scale factors"),
    ArchSupport(
        "sm100",
        ">=0.2,!=0.2.5",
        "DeepGEMM 0.1 accepts packed scale factors with FP4 only; 0.2.5 has no clean_logits and logits_dtype",
    ),
    ArchSupport("sm120", "none", "DeepGEMM accepts the call, but uses the kernel for FP32 scale factors"),
)


class MixedDtypes:
    """The dtypes of a kernel type, as a mixin."""

    name: ClassVar[str]
    #: Forms of operands.py that the kernel type accepts; if there are several, the dimension ``operands`` names one.
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

    def read_dtypes(self, call: Arguments) -> Mapping[str, Value]:
        """The dimensions of a real call, from its queries, weights and result.

        Raises:
            ShapeError: the queries have a form of another kernel type.
        """
        data, scale = parts_of(call.q)
        packed = calls.dtype_of(data) == "int8"
        form = "fp4" if packed else "fp8" if scale is None else "mxfp8"
        calls.belongs(self.name, "queries", form, self.forms)
        found: dict[str, Value] = {"operands": form} if len(self.forms) > 1 else {}
        return {
            **found,
            "num_heads": data.shape[-2],
            "head_dim": data.shape[-1] * (2 if packed else 1),
            "weights_dtype": calls.dtype_of(call.weights),
            "logits_dtype": "float32" if call.logits_dtype is None else str(call.logits_dtype).removeprefix("torch."),
        }
