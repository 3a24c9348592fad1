"""Kernel: compiler commands taken apart, and keys that know no path."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.kernel import CompilerCommand, Kernel, kernel_key, tree_digest
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


def includes(root: Path, content: str = "int x;") -> Path:
    directory = root / "include" / "deep_gemm"
    directory.mkdir(parents=True)
    (directory / "a.h").write_text(content)
    return root / "include"


def key(root: Path, *, source: bytes = b"x", flags: tuple[str, ...] = ("-O3",), nvcc: str = "13.0") -> str:
    command = CompilerCommand(flags, (root / "include", root / "cuda" / "include"))
    return kernel_key(source, command, nvcc, root / "cuda")


def test_the_key_knows_no_path(tmp_path: Path) -> None:
    for name in ("here", "there"):
        includes(tmp_path / name)
    assert key(tmp_path / "here") == key(tmp_path / "there")


def test_the_key_changes_with_everything_that_shapes_the_code(tmp_path: Path) -> None:
    includes(tmp_path / "a")
    includes(tmp_path / "b", "int y;")
    a = tmp_path / "a"
    keys = [key(a), key(tmp_path / "b"), key(a, source=b"y"), key(a, flags=("-O2",)), key(a, nvcc="13.1")]
    keys.append(key(a, flags=("-O3", "-g")))
    assert len(set(keys)) == len(keys)


def test_a_tree_digest_covers_names_and_contents(tmp_path: Path) -> None:
    trees = {"one": {"a.h": "x"}, "two": {"b.h": "x"}, "three": {"a.h": "y"}, "four": {"a.h": "x", "b.h": ""}}
    trees["five"] = {"a.hx": ""}
    for name, files in trees.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_text(content)
    assert len({tree_digest(tmp_path / name) for name in trees}) == len(trees)


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
    kernel = read_recorded(tmp_path, cubin, "13.0", tmp_path / "cuda")
    assert (kernel.name, kernel.cache_entry, kernel.cubin_file) == (name, Path(entry), "kernel.cubin")
    assert (kernel.source, kernel.command.flags, dict(kernel.files)) == (
        "__global__ void f() {}",
        ("-O3",),
        {"meta.json": b"{}"},
    )
