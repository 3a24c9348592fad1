"""The stub GPU: compiled once, and the environment of those who run on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve

from kregistry.errors import MissingRequirement, StorageError
from kregistry.stub.environment import stub_environment
from kregistry.stub.library import compile_stub
from kregistry.target import TARGETS
from kregistry.toolchain import CudaToolkit, Toolchain


def test_it_is_compiled_once(toolchain: Toolchain, stub_directory: Path) -> None:
    library = compile_stub(toolchain, stub_directory)
    assert library.read_bytes().startswith(b"\x7fELF")
    before = library.stat()
    broken = evolve(toolchain, c_compiler="/bin/false")
    assert compile_stub(broken, stub_directory) == library
    assert library.stat().st_mtime_ns == before.st_mtime_ns
    assert {path.suffix for path in stub_directory.glob("libkregistry*")} == {".so"}


def test_a_compiler_that_refuses_it_is_quoted(toolchain: Toolchain, tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    bare = evolve(toolchain, cuda=CudaToolkit(tmp_path, toolchain.cuda.compiler, "test"))
    with pytest.raises(MissingRequirement) as caught:
        compile_stub(bare, tmp_path / "stub")
    assert caught.value.message.startswith(f"{toolchain.c_compiler} does not compile the stub GPU:\n")
    assert caught.value.hint == f"the CUDA headers in {tmp_path}/include may be incomplete"
    assert list((tmp_path / "stub").iterdir()) == []


def test_another_toolkit_gets_a_stub_of_its_own(toolchain: Toolchain, stub_directory: Path, tmp_path: Path) -> None:
    here = compile_stub(toolchain, stub_directory)
    other = evolve(toolchain.cuda, compiler=evolve(toolchain.cuda.compiler, version="0"))
    with pytest.raises(MissingRequirement):
        compile_stub(evolve(toolchain, c_compiler="/bin/false", cuda=other), tmp_path)
    assert here.exists()


def test_a_directory_that_cannot_be_written(toolchain: Toolchain, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        compile_stub(toolchain, tmp_path / "file" / "stub")


def test_a_compiler_that_is_gone(toolchain: Toolchain, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="/no/cc: No such file or directory"):
        compile_stub(evolve(toolchain, c_compiler="/no/cc"), tmp_path / "stub")


def test_the_environment_describes_the_target(toolchain: Toolchain, tmp_path: Path) -> None:
    base = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "DG_JIT_CACHE_DIR": "/a",
        "DJ_JIT_CACHE_DIR": "/b",
        "CUDA_VISIBLE_DEVICES": "",
        "LD_PRELOAD": "/lib/other.so",
    }
    given = dict(base)
    environment = stub_environment(TARGETS["b300"], toolchain, Path("/stub.so"), tmp_path, given)
    assert given == base
    assert environment["LD_PRELOAD"] == "/stub.so:/lib/other.so"
    assert environment["HOME"] == str(tmp_path)
    assert environment["PYTHONUSERBASE"] == os.path.expanduser("~/.local")  # noqa: PTH111
    assert environment["PATH"] == "/bin"
    assert not {"DG_JIT_CACHE_DIR", "DJ_JIT_CACHE_DIR", "CUDA_VISIBLE_DEVICES"} & environment.keys()
    described = {name: value for name, value in environment.items() if name.startswith("KREGISTRY_STUB_")}
    assert described == {
        "KREGISTRY_STUB_NAME": "NVIDIA B300 SXM6 AC",
        "KREGISTRY_STUB_MAJOR": "10",
        "KREGISTRY_STUB_MINOR": "3",
        "KREGISTRY_STUB_SMS": "148",
        "KREGISTRY_STUB_L2": str(126 << 20),
        "KREGISTRY_STUB_MEMORY": str(270 << 30),
    }


#: A C compiler that takes no time: it preprocesses nothing, and its libraries are there.
COPYING = """#!/bin/sh
case " $* " in *" -E "*) exit ;; esac
while [ "$1" != -o ]; do shift; done
exec cp "{libraries}/${{2##*/}}" "$2"
"""
SONAMES = {"stub": "libcuda.so.1", "nvml": "libnvidia-ml.so.1", "calls": "libkregistry_calls.so"}


def copying(place: Path, compiled: Path) -> str:
    """A compiler that copies the libraries beside a compiled stub, without their digests."""
    place.mkdir()
    for name, soname in SONAMES.items():
        library = compiled.with_name(compiled.name.replace("_stub.", f"_{name}."))
        (place / soname).write_bytes(library.read_bytes()[:-32])
    (place / "cc").write_text(COPYING.format(libraries=place))
    (place / "cc").chmod(0o755)
    return str(place / "cc")


@pytest.mark.parametrize("damage", ["empty", "cut", "directory", "removed"])
@pytest.mark.parametrize("name", ["stub", "nvml"])
def test_a_damaged_library_is_compiled_again(
    name: str, damage: str, toolchain: Toolchain, stub_directory: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "stub"
    compiled = compile_stub(toolchain, stub_directory)
    whole = {path.name: path.read_bytes() for path in compiled.parent.glob("lib*.so")}
    directory.mkdir()
    for file, content in whole.items():
        (directory / file).write_bytes(content)
    (path,) = directory.glob(f"libkregistry_{name}.*.so")
    content = path.read_bytes()
    path.unlink()
    if damage == "directory":
        path.mkdir()
        (path / "x").touch()
    elif damage != "removed":
        path.write_bytes(b"" if damage == "empty" else content[:5000])
    compile_stub(evolve(toolchain, c_compiler=copying(tmp_path / "cc", compiled)), directory)
    assert path.read_bytes() == content


def test_what_a_killed_run_has_left_is_removed(toolchain: Toolchain, tmp_path: Path) -> None:
    left, fresh = tmp_path / ".compile.7.0123456789ab", tmp_path / ".compile.8.0123456789ab"
    for path in (left, fresh):
        path.mkdir()
        (path / "libcuda.so.1").touch()
    os.utime(left, (0, 0))
    with pytest.raises(MissingRequirement):
        compile_stub(evolve(toolchain, c_compiler="/bin/false"), tmp_path)
    assert list(tmp_path.iterdir()) == [fresh]
