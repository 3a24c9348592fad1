"""What a lock file may ask a compiler for."""

from __future__ import annotations

import pytest

from kregistry.compile import BuildReport
from kregistry.deep_gemm.allowed_commands import reason_to_refuse

HEADERS = ({"deep_gemm/impls/gemm.cuh", "secret"},)
SOURCE = """// Includes' hash value: a8789b787f2748c5599847a6aedb294d

#include <deep_gemm/impls/gemm.cuh>

using namespace deep_gemm;

static void __instantiate_kernel() {
    auto ptr = reinterpret_cast<void*>(&gemm_impl<
        cute::UMMA::Major::K, 0, -1, 1.5, false
    >);
};
"""
#: The flags of both series of DeepGEMM.
FLAGS = (
    *("-cubin", "--cubin", "-std=c++20", "--diag-suppress=39,161", "--ptxas-options=--register-usage-level=10"),
    *("--gpu-architecture=sm_90a", "-gencode=arch=compute_100f,code=sm_100f", "-O3", "--expt-relaxed-constexpr"),
    *("--expt-extended-lambda", "--compiler-options=-fPIC,-O3,-fconcepts,-Wno-deprecated-declarations,-Wno-abi"),
    *("-lineinfo", "--ptxas-options=--verbose,--warn-on-local-memory-usage", "--compiler-options=-fPIC"),
)


def test_what_deep_gemm_generates_is_allowed() -> None:
    assert reason_to_refuse(SOURCE, FLAGS, HEADERS) == ""


@pytest.mark.stub
@pytest.mark.nvcc
def test_a_real_kernel_is_allowed(tiny_build: BuildReport) -> None:
    (kernel,) = tiny_build.plan.kernels.values()
    (directory,) = kernel.command.includes
    names = {str(path.relative_to(directory)) for path in directory.rglob("*")}
    assert reason_to_refuse(kernel.source, kernel.command.flags, [names]) == ""


#: Flags that read files, write files, run programs or change what is compiled.
OTHER_FLAGS = """
    @/tmp/x --options-file --options-file=/tmp/x -optf -Xcompiler --compiler-options=-include,/etc/x
    -isystem=/etc --system-include=/etc --include-path=/etc -I. -L/tmp --library-path=/tmp -lx -ldir=/x
    --compiler-options=-fPIC,@/tmp/x --compiler-options=-fPIC,-specs=/tmp/x --compiler-options=-wrapper,sh
    --output-directory=/tmp -odir=/tmp --keep -MF=/tmp/x -M -E -x=c -noprof -use-local-env -dlto
    --dont-use-profile -idp=/tmp --dependency-drive-prefix=x -cudart=shared --nvlink-options=-o,/x
    --ptxas-options=-v,--options-file=/x --ptxas-options=--output-file=/x --ptxas-options=-o,/x
    kernel.cu /etc/passwd x.a -- - --fdevice-syntax-only -Wno-abi -DX -UX
"""


@pytest.mark.parametrize(
    "flag",
    [
        *("-ccbin=/tmp/evil", "-ccbin", "--compiler-bindir=x", "-Xcompiler=-B/tmp", "--compiler-options=-B/tmp"),
        *("--compiler-options=-fPIC,-fplugin=x.so", "-I/etc", "-include", "--pre-include=/etc/passwd", "-optf=x"),
        *("--ptxas-options=--input-as-string=x", "-o", "--run", "-cubin\n-ccbin=x", "-std=c++20 -ccbin=x", "", "-Dx=y"),
        *OTHER_FLAGS.split(),
        *("--diag-suppress=\u0663", "-std=c++\u0662\u0660", "--gpu-architecture=sm_\u0669\u0660"),
        *("-O3 ", " -O3", "-O3\n", "-O3\0"),
        *("--nvlink-options=x", "-Xptxas", "--keep-dir=/tmp/x", "-time=/tmp/x", "--fdevice-time-trace=/tmp/x"),
    ],
)
def test_other_flags_are_refused(flag: str) -> None:
    assert reason_to_refuse(SOURCE, (*FLAGS, flag), HEADERS).startswith(f"the flag {flag!r} is not one")


@pytest.mark.parametrize(
    "line",
    [
        '#include "/etc/passwd"',
        "#include </etc/passwd>",
        "#include <deep_gemm/../../../etc/passwd>",
        "#include <../secret>",
        "#include <vector>",
        "#include MACRO",
        "#  include <secret>",
        "#include <secret> // \\",
        "# 1 <secret>",
        "%:include <secret>",
        "#define gemm_impl other",
        "#pragma once",
        '#pragma include_alias("a.h", "/etc/passwd")',
        '_Pragma("once")',
        "#include_next <secret>",
        "#import <secret>",
        "#include <secret>/**/",
        "/**/#include <secret>",
        "#in\\\nclude </etc/passwd>",
        "#include <sec\\\nret>",
        "??=include </etc/passwd>",
        "\\u0023include </etc/passwd>",
        "#if __has_include(</etc/passwd>)",
        "#if __has_embed(</etc/passwd>)",
        "#ifdef X",
        '#line 1 "/etc/passwd"',
        "#undef gemm_impl",
        "#define M <secret>\n#include M",
        "#include CUDA_STD_HEADER(secret)",
        "#include <deep_gemm//impls/gemm.cuh>",
        "#include <./secret>",
        "#include <secret",
        "#include <secret\0>",
        "#include <secret>\r#include </etc/passwd>",
        "#include <secret>\u2028#include </etc/passwd>",
        "#include\t<secret>",
        "// Includes' hash value: ab\r#include </etc/passwd>",
        "// Includes' hash value: ab \\",
        "using namespace deep_gemm; int x;",
        'extern "C" int x;',
        'asm(".section .init_array");',
        'R"(',
        "import std;",
        "module;",
        "\ufeff#include </etc/passwd>",
        "#embed <secret>",
        'asm(".incbin \\"/etc/passwd\\"");',
        "// Includes' hash value: ab\\",
        "/* */",
        "int x;",
        "__attribute__((constructor)) void f();",
    ],
)
def test_other_lines_are_refused(line: str) -> None:
    source = SOURCE.replace("using namespace", f"{line}\nusing namespace")
    assert reason_to_refuse(source, FLAGS, HEADERS) != ""


@pytest.mark.parametrize(
    "text",
    [
        *('"x"', "[]{}", "__asm__", "$x", "a\\\nb", "'c'", "#x", "@", "x; int y", "\n#include </etc/passwd>\n"),
        *("__has_include(</etc/passwd>)", "__has_embed(<x>)", "__has_include_next(<x>)", "x/*", "x//"),
        *("a = b", "a ? b : c", "!x", "~x", "x | y", "x ^ y", "x % y", "%:", "\0", "\x0c", "\u2028", "`x`", "a\\u0023"),
        *("false\r", "f\u00e4"),
    ],
)
def test_a_reference_is_a_template_with_plain_arguments(text: str) -> None:
    allowed = text == "__asm__"  # without a string it assembles nothing
    assert (reason_to_refuse(SOURCE.replace("false", text), FLAGS, HEADERS) == "") is allowed


@pytest.mark.parametrize(
    ("source", "flags", "headers"),
    [
        (SOURCE.replace("false", "0, " * 20_000 + "0"), FLAGS, HEADERS),
        (SOURCE, FLAGS * 20, HEADERS),
        (SOURCE, (*FLAGS, f"--diag-suppress={'1,' * 400}1"), HEADERS),
        (SOURCE, FLAGS, HEADERS * 9),
    ],
    ids=["source", "flags", "flag", "directories"],
)
def test_what_is_far_longer_than_a_kernel_is_refused(
    source: str, flags: tuple[str, ...], headers: tuple[set[str], ...]
) -> None:
    assert "longer than those of DeepGEMM" in reason_to_refuse(source, flags, headers)


def test_the_header_that_is_not_deep_gemms_is_named() -> None:
    source = SOURCE.replace("impls/gemm", "impls/other")
    expected = "the source includes deep_gemm/impls/other.cuh, which is not one of DeepGEMM's headers"
    assert reason_to_refuse(source, FLAGS, HEADERS) == expected
