"""The headers of the toolkit that a source may include: none that nvcc reads is missing."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

from kregistry.deep_gemm.included_headers import _IMPLICIT, _reached, _Text, toolkit_headers
from kregistry.toolchain import Toolchain


@pytest.mark.nvcc
@pytest.mark.parametrize("header", ["sm90_fp8_gemm_1d2d", "sm100_tf32_hc_prenorm_gemm"])
def test_nvcc_reads_no_other_header_of_the_toolkit(toolchain: Toolchain, tmp_path: Path, header: str) -> None:
    spec = importlib.util.find_spec("deep_gemm")
    assert spec is not None and spec.submodule_search_locations
    include = Path(spec.submodule_search_locations[0]) / "include"
    source = tmp_path / "kernel.cu"
    source.write_text(f"#include <deep_gemm/impls/{header}.cuh>\n")
    arch = "sm_90a" if header.startswith("sm90") else "sm_100a"
    command = [toolchain.cuda.nvcc, "-M", "-std=c++20", "--expt-relaxed-constexpr", f"-arch={arch}", f"-I{include}"]
    done = subprocess.run([*command, source], capture_output=True, text=True, check=True)
    places = toolchain.cuda.compiler.includes
    found = [Path(word).resolve() for word in done.stdout.replace("\\\n", " ").split()[1:]]
    read = {path for path in found if any(path.is_relative_to(place) for place in places)}
    text = _Text.read(_IMPLICIT + source.read_bytes())
    reached = {Path(path).resolve() for path in _reached(text, (str(include), *map(str, places)))}
    assert len(read) > 50
    assert read - reached == set()


def test_macros_and_neighbours_are_followed(tmp_path: Path) -> None:
    ours, cuda = tmp_path / "ours", tmp_path / "cuda"
    for path, text in {
        ours / "a.h": '#include "deep/b.h"\n#include STD(c)\n',
        ours / "deep" / "b.h": '#define STD(name) <std/name>\n#include "d.h"\n',
        ours / "deep" / "d.h": "#include <missing.h>\n",
        cuda / "std" / "c": "#include <e.h>\n",
        cuda / "e.h": "",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    reached = _reached(_Text.read(b"#include <a.h>\n"), (str(ours), str(cuda)))
    assert {Path(path).name for path in reached} == {"a.h", "b.h", "d.h", "c", "e.h"}


def test_only_headers_of_the_toolkit_are_in_the_digest(tmp_path: Path) -> None:
    digests = []
    for name, ours_text, cuda_text in (("one", "1", "1"), ("two", "2", "1"), ("three", "1", "2")):
        ours, cuda = tmp_path / name / "ours", tmp_path / name / "cuda"
        for path, text in ((ours / "a.h", f"#include <b.h>\n{ours_text}"), (cuda / "b.h", cuda_text)):
            path.parent.mkdir(parents=True)
            path.write_text(text)
        digests.append(toolkit_headers(b"#include <a.h>\n", (ours,), (cuda,)))
    assert digests[0] == digests[1] != digests[2]
