"""One source that asks for several kernels."""

from __future__ import annotations

from kregistry.compile.shared.group_source import END_OF_HEADERS, KERNELS, TABLE, group_source, table

PROLOGUE = "#include <gemm.cuh>\n\nusing namespace gemms;\n\n"


def test_a_source_for_several_kernels() -> None:
    """In the requested order: the table assigns each mangled name to its kernel."""
    source = group_source(PROLOGUE)
    assert source.count(END_OF_HEADERS) == source.count(KERNELS) == 1
    headers, _, kernels = source.partition(f"{END_OF_HEADERS}\n")
    assert headers == f"{PROLOGUE}\n"
    assert kernels.replace(KERNELS, table(["&gemm<16>", "&gemm<8>"])) == (
        f'extern "C" __device__ const void* {TABLE}[] = {{\n(const void*)(&gemm<16>),\n(const void*)(&gemm<8>)\n}};\n'
    )
