"""`compare --no-op`: functions that do nothing in place of DeepGEMM's, so that only the cost of a call is measured."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from serving_parts.common import CALLS

#: Accepts any arguments and reads none, with the calling convention of a C++ function (a tuple and a dict).
_NOTHING: Callable[..., Any] = "".format
#: Arguments of each site. Nothing reads them.
CALL = {
    "fp8_gemm_nt": SimpleNamespace(args=((0, 1), (2, 3), 4), kwargs={}),
    "tf32_hc_prenorm_gemm": SimpleNamespace(args=(0, 1, 2, 3), kwargs={"num_splits": 16}),
}


def fp8_gemm_nt(a: Any, b: Any, d: Any, c: Any = None, recipe: Any = None, compiled_dims: str = "nk") -> None:
    (a_data, a_sf), (b_data, b_sf) = a, b
    _NOTHING(a_data, a_sf, b_data, b_sf, d, c, recipe, compiled_dims)


def tf32_hc_prenorm_gemm(a: Any, b: Any, d: Any, sqr_sum: Any, num_splits: Any = None) -> None:
    _C.tf32_hc_prenorm_gemm(a, b, d, sqr_sum, num_splits)


_C = SimpleNamespace(tf32_hc_prenorm_gemm=_NOTHING)


def install() -> None:
    """Give this process a module ``deep_gemm`` with the two functions, in Python as those of 0.1.4 are."""
    module: Any = ModuleType("deep_gemm")
    module.__version__ = "0.1.4.post1"
    module._C = _C
    module.fp8_gemm_nt = fp8_gemm_nt
    module.tf32_hc_prenorm_gemm = tf32_hc_prenorm_gemm
    sys.modules["deep_gemm"] = module


def seconds(loop: Callable[[], object]) -> float:
    """Seconds per call in one loop of :data:`CALLS` calls."""
    started = time.perf_counter()
    loop()
    return (time.perf_counter() - started) / CALLS
