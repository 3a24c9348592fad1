"""Sources as DeepGEMM generates them."""

from __future__ import annotations

from kregistry.deep_gemm.generated_source import read_instance

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


def test_family_and_template_arguments() -> None:
    assert read_instance(GEMM) == (
        "sm90_fp8_gemm_1d2d",
        ("cute::UMMA::Major::K", "0", "0", "0", "std::pair<int, float>", "make(1, 2)"),
    )


def test_a_kernel_without_template_and_a_foreign_source() -> None:
    assert read_instance("auto ptr = reinterpret_cast<void*>(&plain_kernel);") == ("plain_kernel", ())
    assert read_instance("int main() {}") == ("", ())
