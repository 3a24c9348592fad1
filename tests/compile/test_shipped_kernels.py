"""Kernels that ship with the package: the same keys as planned ones, and only where they fit this machine."""

from __future__ import annotations

import gzip
import json
import platform
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from kregistry import Registry, load_manifest
from kregistry import compile as room
from kregistry.compile import BuildReport
from kregistry.compile.locked_kernels import installed_headers
from kregistry.compile.shared.kernel_family import member_of
from kregistry.compile.shared.self_check_results import KnownResult, SelfCheckResults, Source
from kregistry.compile.shared.shipped import is_used
from kregistry.compile.shipped_kernels import (
    every_shipped_kernel,
    file_name,
    shipped_content,
    shipped_families,
    shipped_kernels,
)
from kregistry.deep_gemm.allowed_commands import reason_to_refuse
from kregistry.kernel import Kernel
from kregistry.manifest import Manifest
from kregistry.target import get_target
from kregistry.toolchain import Toolchain

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    each.name for each in resources.files(room).joinpath("shipped").iterdir() if each.name.endswith(".json.gz")
)


@pytest.fixture
def content(tiny_build: BuildReport, toolchain: Toolchain) -> dict[str, Any]:
    return shipped_content([tiny_build.plan], toolchain.cuda.compiler)


@pytest.fixture
def directory(content: dict[str, Any], toolchain: Toolchain, tmp_path: Path) -> Path:
    return written(content, toolchain, tmp_path)


def written(content: dict[str, Any], toolchain: Toolchain, directory: Path) -> Path:
    path = directory / file_name(toolchain.versions.deep_gemm)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return directory


@pytest.mark.stub
@pytest.mark.nvcc
def test_they_are_the_kernels_of_the_plan(
    tiny_build: BuildReport, tiny_manifest: Manifest, toolchain: Toolchain, directory: Path
) -> None:
    (kernel,) = shipped_kernels(tiny_manifest, toolchain, {}, directory)
    (planned,) = tiny_build.plan.kernels.values()
    assert (kernel.id, kernel.key, kernel.source, kernel.command) == (
        planned.id,
        planned.key,
        planned.source,
        planned.command,
    )
    assert not kernel.has_cache_entry
    same_chip = evolve(tiny_manifest, target=get_target("h200"))
    assert len(shipped_kernels(same_chip, toolchain, {}, directory)) == 1


@pytest.mark.stub
@pytest.mark.nvcc
def test_they_are_left_where_something_differs(
    tiny_manifest: Manifest, toolchain: Toolchain, content: dict[str, Any], directory: Path, tmp_path: Path
) -> None:
    for variables in ({"KREGISTRY_NO_SHIPPED": "1"}, {"NVCC_APPEND_FLAGS": "-O1"}, {"DG_JIT_PTXAS_VERBOSE": "1"}):
        assert shipped_kernels(tiny_manifest, toolchain, variables, directory) == ()
    for target in ("h20", "b200"):
        assert shipped_kernels(evolve(tiny_manifest, target=get_target(target)), toolchain, {}, directory) == ()
    (entry,) = tiny_manifest.entries
    beyond = evolve(entry, range=evolve(entry.range, start=5, stop=9))
    assert shipped_kernels(evolve(tiny_manifest, entries=(beyond,)), toolchain, {}, directory) == ()
    for change in ({"headers": "0" * 64}, {"entries": {}}):
        assert shipped_kernels(tiny_manifest, toolchain, {}, written({**content, **change}, toolchain, tmp_path)) == ()
    (directory / file_name(toolchain.versions.deep_gemm)).unlink()
    assert shipped_kernels(tiny_manifest, toolchain, {}, directory) == ()


def families_of(manifest: Manifest, toolchain: Toolchain, variables: dict[str, str]) -> tuple[Kernel, ...]:
    types = {entry.kernel_type for entry in manifest.entries}
    return shipped_families(types, manifest.target, toolchain, variables)


@pytest.mark.stub
@pytest.mark.nvcc
def test_families_are_those_of_the_kernel_types_whatever_the_shapes(
    registry: Registry, toolchain: Toolchain, tmp_path: Path
) -> None:
    """With many kernels; not those of a kernel type that the manifest does not name."""

    def families(type_: str, variables: dict[str, str]) -> list[str]:
        text = f"{{type: {type_}, shape: {{n: 4104, k: 512}}, m: {{stop: 64}}}}"
        path = tmp_path / "kernels.yaml"
        path.write_text(f"version: 1\ntarget: h100\nmodels: {{a: {{kernels: [{text}]}}}}\n")
        manifest = load_manifest(path, registry)
        assert shipped_kernels(manifest, toolchain, variables) == ()
        return [kernel.name for kernel in families_of(manifest, toolchain, variables)]

    assert families("fp8_gemm_nt", {}) == families("fp8_gemm_nt", {"KREGISTRY_NO_SHIPPED": "kernels"})
    assert sorted(families("fp8_gemm_nt", {})) == ["sm90_fp8_gemm_1d2d", "transpose_fp32"]
    assert families("fp8_gemm_nt", {"KREGISTRY_NO_SHIPPED": "1"}) == families("bf16_gemm_tt", {}) == []


def with_nvcc(toolchain: Toolchain, version: str) -> Toolchain:
    return evolve(toolchain, cuda=evolve(toolchain.cuda, compiler=evolve(toolchain.cuda.compiler, version=version)))


@pytest.mark.nvcc
def test_another_nvcc_compiles_the_same_sources_under_other_keys(registry: Registry, toolchain: Toolchain) -> None:
    """DeepGEMM's choices do not depend on nvcc. Its flags do, for an nvcc without the architectures of a family."""
    manifest = load_manifest(ROOT / "kernels.yaml", registry, "h200").select(["deepseek-v3"])
    here, other = (shipped_kernels(manifest, with_nvcc(toolchain, each), {}) for each in ("13.0.88", "12.6.20"))
    assert len(here) > 50
    assert [(each.source, each.command) for each in here] == [(each.source, each.command) for each in other]
    assert not {each.key for each in here} & {each.key for each in other}
    on_blackwell = load_manifest(ROOT / "kernels.yaml", registry, "b200").select(["deepseek-v3"])
    for version, known in (("12.8.90", False), ("12.9.41", True), ("13.1.80", True)):
        assert bool(shipped_kernels(on_blackwell, with_nvcc(toolchain, version), {})) is known
        assert bool(families_of(on_blackwell, with_nvcc(toolchain, version), {})) is known


@pytest.mark.nvcc
@pytest.mark.parametrize(
    ("deep_gemm", "target"), [("0.1.99", "h200"), ("2.1.1+c9f8b34", "h200"), ("0.2.99", "h100"), (None, "h20")]
)
def test_headers_are_guessed_where_nothing_ships(
    registry: Registry, toolchain: Toolchain, deep_gemm: str | None, target: str
) -> None:
    """For another version of DeepGEMM, and for another GPU of the architecture."""
    versions = evolve(toolchain.versions, deep_gemm=deep_gemm or toolchain.versions.deep_gemm)
    manifest = load_manifest(ROOT / "kernels.yaml", registry, target).select(["deepseek-v3"])
    assert shipped_kernels(manifest, evolve(toolchain, versions=versions), {}) == ()
    families = families_of(manifest, evolve(toolchain, versions=versions), {})
    assert "sm90_fp8_gemm_1d2d" in {each.name for each in families}
    assert {each.command.includes for each in families} == {installed_headers()[:1]}


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_what_deep_gemm_generates(name: str) -> None:
    content = json.loads(gzip.decompress(resources.files(room).joinpath("shipped", name).read_bytes()))
    assert content["kernels"] and len(content["headers"]) == 64
    for kernel, command, template, reference in content["kernels"]:
        source = content["templates"][template].replace("\0", reference)
        include = source.partition("#include <")[2].partition(">")[0]
        assert reason_to_refuse(source, content["commands"][command][0], [[include]]) == "", kernel
    numbers = range(len(content["kernels"]))
    spans = [span for target in content["entries"].values() for entry in target.values() for span in entry]
    assert spans and all(number in numbers and start <= stop for number, start, stop in spans)


def test_the_variable_leaves_out_all_or_one() -> None:
    for value, expected in (
        ("", (True, True)),
        ("0", (True, True)),
        ("1", (False, False)),
        ("kernels", (False, True)),
        ("checks", (True, False)),
        ("none of them", (False, False)),
    ):
        environment = {"KREGISTRY_NO_SHIPPED": value}
        assert (is_used("kernels", environment), is_used("checks", environment)) == expected


@pytest.mark.nvcc
@pytest.mark.skipif(platform.machine() != "x86_64", reason="results ship for hosts of this architecture")
def test_results_of_self_checks_ship_for_their_families(
    toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this fails after a change of how front ends are shared: tools/shipped_checks.py compares them again."""
    monkeypatch.delenv("KREGISTRY_NO_SHIPPED")
    families = Counter(member_of(kernel).family for kernel in every_shipped_kernel(toolchain))
    results = SelfCheckResults(tmp_path, toolchain.cuda.nvcc)
    shared = [family for family, count in families.items() if count > 1]
    assert len(shared) > 5
    missing = [str(family) for family in shared if results.recall(family) != KnownResult("", Source.PACKAGE)]
    assert missing == []
