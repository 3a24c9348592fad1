"""The report of kernels that do not compile shows what DeepGEMM really chooses, and what nvcc really says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from kregistry import Registry, load_manifest, make_plan
from kregistry.toolchain import Toolchain

ROOT = Path(__file__).parents[2]
CALLS = """
version: 1
target: h100
models:
  reported:
    kernels:
      - {type: fp8_gemm_nt_wgrad, shape: {n: 2112, k: 7168}, m: {start: 1, stop: 32}}
      - type: m_grouped_bf16_gemm_nt_contiguous
        shape: {num_groups: 32, n: 4096, k: 7168, mk_alignment: 224}
        m: {start: 448, stop: 448, step: 224}
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("broken_kernels", ROOT / "tools" / "broken_kernels.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def instantiations(source: str) -> list[str]:
    return [re.sub(r"\s", "", found) for found in re.findall(r"&(\w+_impl<.*?>)\);", source, re.DOTALL)]


@pytest.mark.stub
def test_the_reported_kernels_are_those_that_deep_gemm_chooses(
    tool: ModuleType, tmp_path: Path, stub_directory: Path
) -> None:
    (tmp_path / "k.yaml").write_text(CALLS)
    registry = Registry()
    plan = make_plan(load_manifest(tmp_path / "k.yaml", registry), registry, processes=1, stub_directory=stub_directory)
    assert plan.problems() == ()
    chosen = {each for kernel in plan.kernels.values() for each in instantiations(kernel.source)}
    reported = {
        instantiations(tool.SOURCE.format(header=header, kernel=kernel, arguments=arguments))[0]
        for call, (header, kernel, arguments) in tool.KERNELS.items()
        if not call.startswith("m_grouped_fp8")
    }
    assert len(reported) == 3
    assert reported <= chosen
    (flags,) = {frozenset(kernel.command.flags) for kernel in plan.kernels.values()}
    assert set(tool.FLAGS) == flags


def test_the_shown_output_is_nvccs(tool: ModuleType, toolchain: Toolchain) -> None:
    header, kernel, arguments = next(iter(tool.KERNELS.values()))
    include = Path(str(importlib.util.find_spec("deep_gemm").origin)).parent / "include"  # type: ignore[union-attr]
    source = tool.SOURCE.format(header=header, kernel=kernel, arguments=arguments)
    errors = tool.errors_of(str(toolchain.cuda.nvcc), include, source)
    report = (ROOT / "docs" / "upstream-broken-kernels.md").read_text()
    assert f"{kernel}<{arguments}>" in report
    assert len(errors) == 4
    assert [line for line in errors if line not in report] == []


@pytest.mark.nvcc
def test_a_source_that_compiles_has_no_errors(tool: ModuleType, toolchain: Toolchain, tmp_path: Path) -> None:
    assert tool.errors_of(str(toolchain.cuda.nvcc), tmp_path, 'extern "C" __global__ void k() {}\n') == []
