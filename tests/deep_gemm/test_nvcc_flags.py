"""The arguments that nvcc takes from its environment become part of each kernel's command."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.deep_gemm.nvcc_flags import EnvironmentFlags, for_nvcc
from kregistry.errors import MissingRequirement
from kregistry.kernel import CompilerCommand

COMMAND = CompilerCommand(("-cubin", "-O3"), (Path("/dg"),))


def applied(prepend: str = "", append: str = "") -> CompilerCommand:
    flags = EnvironmentFlags.read({"NVCC_PREPEND_FLAGS": prepend, "NVCC_APPEND_FLAGS": append})
    return flags.apply(COMMAND)


@pytest.mark.parametrize(
    ("prepend", "append", "flags", "includes"),
    [
        ("", "", ["-cubin", "-O3"], ["/dg"]),
        ("", "-lineinfo", ["-cubin", "-O3", "-lineinfo"], ["/dg"]),
        ("-O0 -Xptxas=-O0", "", ["-O0", "-Xptxas=-O0", "-cubin", "-O3"], ["/dg"]),
        ("", "-Xcompiler -Wall", ["-cubin", "-O3", "-Xcompiler=-Wall"], ["/dg"]),
        ("-I/first", "-isystem /last", ["-cubin", "-O3"], ["/first", "/dg", "/last"]),
        ("-I/one,/two", "--include-path=/three", ["-cubin", "-O3"], ["/one", "/two", "/dg", "/three"]),
        ("'-DNAME=a b'", "", ["-DNAME=a b", "-cubin", "-O3"], ["/dg"]),
    ],
)
def test_the_arguments_are_part_of_the_command(
    prepend: str, append: str, flags: list[str], includes: list[str]
) -> None:
    command = applied(prepend, append)
    assert (list(command.flags), list(map(str, command.includes))) == (flags, includes)


@pytest.mark.parametrize(
    "value",
    [
        "-ccbin=/usr/bin/g++-12",
        "-ccbin /usr/bin/g++-12",
        "--compiler-bindir=/x -allow-unsupported-compiler",
        "--threads=4 -t 8",
    ],
)
def test_the_host_compiler_is_passed_on_and_not_in_the_command(value: str) -> None:
    assert applied(value) == applied(append=value) == COMMAND
    assert for_nvcc({"NVCC_APPEND_FLAGS": f"{value} -lineinfo"}) == {"NVCC_PREPEND_FLAGS": value}
    assert for_nvcc({"NVCC_APPEND_FLAGS": "-lineinfo", "PTXAS_FLAGS": "-O0", "HOME": "/h"}) == {"HOME": "/h"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("-include /x.h", "-include reads a file, whose content is not in the key of a kernel"),
        ("--options-file=/x", "--options-file=/x reads a file, whose content is not in the key of a kernel"),
        ("-Xcompiler=-include,/x.h", "-Xcompiler=-include,/x.h reads a file"),
        ("-Xcompiler -I/x", "-Xcompiler=-I/x reads a file"),
        ("-Xptxas --options-file,/x", "-Xptxas=--options-file,/x reads a file"),
        ("-Xcudafe=--preinclude=/x.h", "-Xcudafe=--preinclude=/x.h reads a file"),
        ("-ldir /x", "-ldir makes nvcc look for its own files elsewhere"),
        ("-noprof", "-noprof makes nvcc look for its own files elsewhere"),
        ("--keep-dir=/x", "--keep-dir=/x keeps files that compilers which run at once would share"),
        ("-MMD", "-MMD asks nvcc for something else than machine code"),
        ("--dryrun", "--dryrun asks nvcc for something else than machine code"),
        ("-ptx", "-ptx asks nvcc for something else than machine code"),
        ("other.cu", "other.cu is another input of nvcc"),
        ("'-Dx", "No closing quotation"),
    ],
)
@pytest.mark.parametrize("variable", ["NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"])
def test_what_cannot_be_in_a_key_is_refused(variable: str, value: str, reason: str) -> None:
    with pytest.raises(MissingRequirement) as caught:
        EnvironmentFlags.read({variable: value})
    assert caught.value.message.startswith(f"{variable}={value}: {reason}")
    assert caught.value.hint == f"unset {variable}, or take this argument out of it"
