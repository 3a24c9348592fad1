"""Flags: those of both DeepGEMMs are understood; what changes the output, or may, is named."""

from __future__ import annotations

import pytest

from kregistry.compile.shared.flags import reason_not_shareable
from kregistry.kernel import Kernel

UNDERSTOOD = [
    "-cubin",
    "--cubin",
    "-O0",
    "-O3",
    "-std=c++17",
    "--std=c++20",
    "-arch=sm_90a",
    "--gpu-architecture=sm_100f",
    "-gencode=arch=compute_90a,code=sm_90a",
    "--generate-code=arch=compute_120a,code=sm_120a",
    "--diag-suppress=39",
    "--diag-suppress=39,161,174",
    "--expt-relaxed-constexpr",
    "--expt-extended-lambda",
    "--extended-lambda",
    "--use_fast_math",
    "--ftz=true",
    "--fmad=false",
    "--prec-div=true",
    "--prec-sqrt=false",
    "-Xcompiler=-fPIC",
    "--compiler-options=-fPIC,-O3,-fconcepts,-Wno-deprecated-declarations,-Wno-abi",
    "-Xptxas=--register-usage-level=5",
    "--ptxas-options=--register-usage-level=10",
    "-DNDEBUG",
    "-DSTAGES=4",
]

#: Debug information, line numbers, words, other outputs, other code, further files; options without their values.
REFUSED = [
    "-G",
    "--device-debug",
    "-g",
    "-lineinfo",
    "--generate-line-info",
    "--verbose",
    "-v",
    "-Xptxas",
    "--ptxas-options=-v",
    "--ptxas-options=--verbose,--warn-on-local-memory-usage",
    "--ptxas-options=--register-usage-level=10,-v",
    "--resource-usage",
    "--source-in-ptx",
    "--keep",
    "-ptx",
    "-fatbin",
    "-dc",
    "-rdc=true",
    "--relocatable-device-code=true",
    "-dlto",
    "-maxrregcount=128",
    "-O4",
    "-Ofast-compile=max",
    "-arch",
    "-arch=native",
    "-arch=compute_90a",
    "-gencode=arch=compute_90a,code=compute_90a",
    "-gencode=arch=compute_90a,code=[sm_90a,compute_90a]",
    "--diag-suppress=all",
    "--ftz=yes",
    "-Xcompiler=-g",
    "--compiler-options=-fPIC,-fsanitize=address",
    "--compiler-options=-Wp,-MD,kernel.d",
    '-DWORDS="two words"',
    "-U__CUDA_NO_HALF_OPERATORS__",
    "-include=other.h",
    "-MD",
    "--fdevice-time-trace=trace.json",
    "-lineinfo -cubin",
    "",
]


@pytest.mark.parametrize("flag", UNDERSTOOD)
def test_a_flag_that_is_understood(flag: str) -> None:
    assert reason_not_shareable([flag]) == ""


@pytest.mark.parametrize("flag", REFUSED)
def test_a_flag_that_is_not(flag: str) -> None:
    reason = f"the flag {flag} is not known to leave a shared front end's code the same"
    assert reason_not_shareable(["-cubin", flag, "-O3"]) == reason


def test_the_first_is_named() -> None:
    assert reason_not_shareable(["-O3", "-lineinfo", "-G"]).startswith("the flag -lineinfo ")


def test_what_deep_gemm_passes_is_understood(kernel: Kernel) -> None:
    assert len(kernel.command.flags) > 5
    assert reason_not_shareable(kernel.command.flags) == ""
