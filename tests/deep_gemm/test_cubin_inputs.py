"""What decides a cubin: contents, and no path."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from kregistry.deep_gemm.compiler import Compiler
from kregistry.deep_gemm.cubin_inputs import cubin_key, tree_digest
from kregistry.deep_gemm.nvcc_flags import EnvironmentFlags
from kregistry.kernel import CompilerCommand


def includes(root: Path, content: str = "int x;") -> Path:
    directory = root / "include" / "deep_gemm"
    directory.mkdir(parents=True)
    (directory / "a.h").write_text(content)
    return root / "include"


def compiler(root: Path, version: str = "13.0") -> Compiler:
    return Compiler(root / "nvcc", version, "test", includes=((root / "cuda" / "include").resolve(),))


def key(root: Path, *, source: bytes = b"x", flags: tuple[str, ...] = ("-O3",), nvcc: str = "13.0") -> str:
    command = CompilerCommand(flags, (root / "include", root / "cuda" / "include"))
    return cubin_key(source, command, compiler(root, nvcc))


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


def with_toolkit(root: Path, **headers: str) -> Path:
    includes(root)
    toolkit = root / "cuda" / "include"
    toolkit.mkdir(parents=True)
    (toolkit / "cuda_runtime.h").write_text('#include "inner.h"\n')
    for name, text in {"inner": "", "fp16": "", "unused": "", **headers}.items():
        (toolkit / f"{name}.h").write_text(text)
    return root


def test_headers_of_the_toolkit_count_if_the_source_may_include_them(tmp_path: Path) -> None:
    source = b"#if 0\n#  include <fp16.h>\n#endif\n"
    changed = {"same": {}, "inner": {"inner": "x"}, "fp16": {"fp16": "x"}, "unused": {"unused": "x"}}
    keys = {name: key(with_toolkit(tmp_path / name, **headers), source=source) for name, headers in changed.items()}
    assert keys["unused"] == keys["same"]  # another header, as a larger installation of the same toolkit has it
    assert len(set(keys.values())) == 3


def test_a_changed_profile_counts_and_the_host_compiler_does_not(tmp_path: Path) -> None:
    root = with_toolkit(tmp_path / "a")
    standard = compiler(root)
    headers = tmp_path / "more"
    headers.mkdir()
    (headers / "x.h").touch()
    command = CompilerCommand(("-O3",), (root / "include",))
    flags = EnvironmentFlags(host=("-ccbin", "/usr/bin/gcc"))
    keys = [
        cubin_key(b"x", command, standard),
        cubin_key(b"x", command, evolve(standard, profile=("PTXAS_FLAGS=-O1",))),
        cubin_key(b"x", command, evolve(standard, profile=(f"-I{headers}",))),
    ]
    assert len(set(keys)) == len(keys)
    assert cubin_key(b"x", flags.apply(command), evolve(standard, flags=flags)) == keys[0]
