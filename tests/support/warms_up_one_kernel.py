"""A wrong kernel type for KR309: a module of its own, so that the child processes of a dry run can import it."""

from __future__ import annotations

from typing import Any

from good_kernel_types import Bf16Gemm

from kregistry import Buffers, Proof


class WarmsUpOneKernel(Bf16Gemm):
    """Launches row by row in warm-up, where serving launches once: other kernels."""

    proof = Proof(examples=({"n": 2112, "k": 7168},))

    def execute(self, buffers: Buffers, m: int) -> Any:
        for row in range(m):
            rows = {"a": buffers.a[row : row + 1], "b": buffers.b, "d": buffers.d[row : row + 1]}
            super().execute(Buffers(buffers.shape, 1, rows), 1)
