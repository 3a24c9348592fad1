"""Sources as DeepGEMM generates them: DeepGEMM's form and no other, and the template arguments of the kernel."""

from __future__ import annotations

import pytest
from families import source_of

from kregistry.deep_gemm.generated_source import find_reference, parse_source, split_arguments
from kregistry.kernel import Kernel

GEMM = """
#include <deep_gemm/impls/sm90_fp8_gemm_1d2d.cuh>
using namespace deep_gemm;
static void __instantiate_kernel() {
    auto ptr = reinterpret_cast<void*>(&sm90_fp8_gemm_1d2d_impl<
        cute::UMMA::Major::K,
        0, 0, 0,
        std::pair<int, float>, make(1, 2)
    >);
};
"""
PROLOGUE = "#include <gemm.cuh>\n\nusing namespace gemms;\n\n"
GOOD = source_of("&gemm<8, Kind::Normal>")


@pytest.mark.parametrize(
    "reference",
    ["&gemm", "&gemm<8, Kind::Normal>", "&gemm<\n        8,\n        std::array<int, 2>\n    >", "&gemm<(1 << 3)>"],
)
def test_a_source_taken_apart(reference: str) -> None:
    found = parse_source(source_of(reference))
    assert found is not None
    assert (found.prologue, found.reference.text) == (PROLOGUE, reference)
    assert found.reference.symbol == "gemm"


def test_the_end_may_lack_a_semicolon_and_a_newline() -> None:
    assert parse_source(GOOD.removesuffix(";\n")) == parse_source(GOOD) == parse_source(GOOD + "\n\n")


def test_a_real_source_is_taken_apart(kernel: Kernel) -> None:
    found = parse_source(kernel.source)
    assert found is not None
    assert "#include <deep_gemm/impls/sm90_tf32_hc_prenorm_gemm.cuh>" in found.prologue
    assert found.reference.kernel == kernel.name == "sm90_tf32_hc_prenorm_gemm"
    assert found.reference.arguments[:2] == ("24", "256")


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


def test_kernel_and_template_arguments() -> None:
    found = find_reference(GEMM)
    assert found is not None
    assert (found.symbol, found.kernel) == ("sm90_fp8_gemm_1d2d_impl", "sm90_fp8_gemm_1d2d")
    assert found.arguments == ("cute::UMMA::Major::K", "0", "0", "0", "std::pair<int, float>", "make(1, 2)")
    source = parse_source(GEMM)
    assert source is not None and source.reference == found


def test_a_kernel_without_template_or_in_a_namespace_and_a_foreign_source() -> None:
    plain = find_reference("auto ptr = reinterpret_cast<void*>(&plain_kernel);")
    assert plain is not None and (plain.kernel, plain.arguments) == ("plain_kernel", ())
    inside = find_reference("auto ptr = reinterpret_cast<void *>( &deep_gemm::inner::gemm_impl<a::b<1>> ) ;")
    assert inside is not None and (inside.kernel, inside.arguments) == ("gemm", ("a::b<1>",))
    assert find_reference("int main() {}") is None


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", ()),
        ("  8 ", ("8",)),
        ("a<b<1, 2>, c<3, d<4, 5>>>, 6", ("a<b<1, 2>, c<3, d<4, 5>>>", "6")),
        ("(1 << 3), 1 << 3, 2", ("(1 << 3)", "1 << 3", "2")),
        ("(a < b), (c > d), 2", ("(a < b)", "(c > d)", "2")),
        ("(std::pair<int, 1>().second > 2), 3", ("(std::pair<int, 1>().second > 2)", "3")),
        ("a[1, 2], T{3, 4}, f(5, 6)", ("a[1, 2]", "T{3, 4}", "f(5, 6)")),
        ("p->x<1, 2>, 3", ("p->x<1, 2>", "3")),
        ("\"a, <b\", '(', ',', '\\'', \"\\\",\", 1", ('"a, <b"', "'('", "','", "'\\''", '"\\","', "1")),
        ("1'000, L'a', 2'0'0", ("1'000", "L'a'", "2'0'0")),
        ("std::pair<int,\n        float>,\n  8", ("std::pair<int, float>", "8")),
    ],
)
def test_arguments_are_split_outside_of_brackets_and_strings(text: str, arguments: tuple[str, ...]) -> None:
    assert split_arguments(text) == arguments
    assert split_arguments(", ".join(arguments)) == arguments


def test_the_first_reference_of_any_source_is_found() -> None:
    before = "a; reinterpret_cast<void*>(x); reinterpret_cast<void*>(&a b; "
    found = find_reference(before + "x = reinterpret_cast<void *>( &ns::gemm_impl<1, 2> ) ;")
    assert found is not None and (found.symbol, found.arguments) == ("gemm_impl", ("1", "2"))


@pytest.mark.parametrize("part", ["reinterpret_cast<void*>(&", "reinterpret_cast<void*>(& )", "&a<", "::", '\\"', "'"])
def test_a_long_source_is_searched_in_one_pass(part: str) -> None:
    """With backtracking these took minutes."""
    find_reference(part * 10_000)
    parse_source(part * 10_000)
    split_arguments(part * 5_000)
