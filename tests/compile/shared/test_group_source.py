"""Sources taken apart: DeepGEMM's form and no other, and put together again for several kernels."""

from __future__ import annotations

import pytest
from families import source_of

from kregistry.compile.shared.group_source import END_OF_HEADERS, KERNELS, TABLE, group_source, parse_source, table
from kregistry.kernel import Kernel

PROLOGUE = "#include <gemm.cuh>\n\nusing namespace gemms;\n\n"
GOOD = source_of("&gemm<8, Kind::Normal>")


@pytest.mark.parametrize(
    "reference",
    ["&gemm", "&gemm<8, Kind::Normal>", "&gemm<\n        8,\n        std::array<int, 2>\n    >", "&gemm<(1 << 3)>"],
)
def test_a_source_taken_apart(reference: str) -> None:
    found = parse_source(source_of(reference))
    assert found is not None
    assert (found.prologue, found.reference) == (PROLOGUE, reference)


def test_the_end_may_lack_a_semicolon_and_a_newline() -> None:
    assert parse_source(GOOD.removesuffix(";\n")) == parse_source(GOOD) == parse_source(GOOD + "\n\n")


def test_a_real_source_is_taken_apart(kernel: Kernel) -> None:
    found = parse_source(kernel.source)
    assert found is not None
    assert "#include <deep_gemm/impls/sm90_tf32_hc_prenorm_gemm.cuh>" in found.prologue
    assert found.reference.startswith("&sm90_tf32_hc_prenorm_gemm_impl<") and found.reference.endswith(">")


@pytest.mark.parametrize(
    "source",
    [
        "",
        'extern "C" __global__ void kernel(int* p) { *p = 1; }\n',
        GOOD + "__device__ int counter;\n",
        GOOD.replace("__instantiate_kernel", "other"),
        GOOD.replace("static void", "void"),
        GOOD.replace("    auto ptr", "    auto other = 1;\n    auto ptr"),
        GOOD.replace(");\n}", ");\n    auto other = reinterpret_cast<void*>(&gemm<16>);\n}"),
        GOOD.replace("&gemm", "gemm"),
        GOOD.replace("&gemm<8, Kind::Normal>", "&gemm<Kind{8}>"),
        GOOD.replace("static void", "inline static void"),
    ],
    ids=[
        "empty",
        "a kernel itself",
        "something after it",
        "another function",
        "not static",
        "another statement before",
        "a second reference",
        "no address",
        "braces in the arguments",
        "inline",
    ],
)
def test_another_form(source: str) -> None:
    assert parse_source(source) is None


def test_a_source_for_several_kernels() -> None:
    """In the order that was asked for: the table tells which mangled name is whose."""
    source = group_source(PROLOGUE)
    assert source.count(END_OF_HEADERS) == source.count(KERNELS) == 1
    headers, _, kernels = source.partition(f"{END_OF_HEADERS}\n")
    assert headers == f"{PROLOGUE}\n"
    assert kernels.replace(KERNELS, table(["&gemm<16>", "&gemm<8>"])) == (
        f'extern "C" __device__ const void* {TABLE}[] = {{\n(const void*)(&gemm<16>),\n(const void*)(&gemm<8>)\n}};\n'
    )
