"""Kernel: compiler commands taken apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.deep_gemm.compiler import Compiler
from kregistry.kernel import CompilerCommand, Kernel
from kregistry.stub.recorded_kernel import read_recorded

FLAGS = ("-cubin", "-O3", "--gpu-architecture=sm_90a", "-DN=3", "--compiler-options=-fPIC,-O3")


@pytest.mark.parametrize(
    "arguments",
    [
        ["/x/kernel.cu", "-o", "/x/kernel.cubin", "-I/a", "-I/b", *FLAGS],
        ["-I", "/a", *FLAGS, "--include-path", "/b", "/x/kernel.cu", "--output-file", "/x/kernel.cubin"],
        ["-isystem", "/a", "--include-path=/b", *FLAGS, "-o", "out", "kernel.cu"],
    ],
)
def test_a_command_is_flags_and_paths(arguments: list[str]) -> None:
    command = CompilerCommand.parse(arguments)
    assert command.flags == FLAGS
    assert command.includes == (Path("/a"), Path("/b"))
    assert command.arguments(Path("s.cu"), Path("o")) == ["s.cu", *FLAGS, "-I/a", "-I/b", "-o", "o"]


def test_the_recorded_command_of_deep_gemm(kernel: Kernel) -> None:
    assert kernel.name == "sm90_tf32_hc_prenorm_gemm"
    assert kernel.id == f"{kernel.name}.{kernel.key[:16]}"
    assert any("sm_90a" in flag for flag in kernel.command.flags)
    assert not any(flag.startswith("/") or "kernel.cu" in flag for flag in kernel.command.flags)
    assert any((path / "deep_gemm").is_dir() for path in kernel.command.includes)
    assert kernel.cache_entry.parts[0] == ".deep_gemm" and kernel.cubin_file == "kernel.cubin"
    assert kernel.files["kernel.cu"].decode() == kernel.source


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (".deep_gemm/cache/kernel.sm90_gemm.0123", "sm90_gemm"),
        (".dj/cache/kernel.a.b.0123", "a.b"),
    ],
)
def test_a_recorded_kernel_is_read_in_any_layout(tmp_path: Path, entry: str, name: str) -> None:
    directory = tmp_path / entry
    directory.mkdir(parents=True)
    cubin = directory / "kernel.cubin"
    cubin.write_bytes(b"-O3\0/x/kernel.cu\0-o\0out\0\0__global__ void f() {}")
    (directory / "meta.json").write_bytes(b"{}")
    kernel = read_recorded(tmp_path, cubin, Compiler(tmp_path / "nvcc", "13.0", "test"))
    assert (kernel.name, kernel.cache_entry, kernel.cubin_file) == (name, Path(entry), "kernel.cubin")
    assert (kernel.source, kernel.command.flags, dict(kernel.files)) == (
        "__global__ void f() {}",
        ("-O3",),
        {"meta.json": b"{}"},
    )
