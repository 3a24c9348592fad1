"""kregistry build and its shared front ends: on, off by option or environment, paranoid, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result
from compilers import refusing_toolkit
from plans import K, plan_of, planned

from kregistry.cli.build_command import print_report
from kregistry.compile import BuildReport, CompiledKernel
from kregistry.compile.shared import self_check
from kregistry.toolchain import Toolchain

Run = Callable[..., Result]

#: Two kernels of one family, the cheapest that there is.
MANIFEST = """
version: 1
target: h100
models:
  tiny:
    kernels:
      - {type: tf32_hc_prenorm_gemm, shape: {n: [16, 24], k: 256}, m: {stop: 4}}
"""
FAMILY = "deep_gemm/impls/sm90_tf32_hc_prenorm_gemm.cuh"
NOTHING = {"parsed": [], "front_ends": [], "not_shared": [], "compared": [], "different": [], "known": []}


@pytest.fixture
def build(kregistry: Run, tmp_path: Path) -> Run:
    """``kregistry build`` of the two kernels with an empty store."""
    (tmp_path / "k.yaml").write_text(MANIFEST)

    def run(*options: str) -> Result:
        place = ("--store", tmp_path / "store", "--cache-dir", tmp_path / "jit")
        return kregistry("build", tmp_path / "k.yaml", *place, *options)

    return run


def test_a_build_reports_what_was_shared(build: Run) -> None:
    result = build("--json")
    assert (result.code, result.err) == (0, "")
    compiled = {each["id"] for each in result.json["compiled"]}
    sharing = result.json["sharing"]
    assert (len(compiled), result.json["ready"]) == (2, 2)
    (parsed,) = sharing.pop("parsed")
    runs = sharing.pop("front_ends")
    assert all(each.pop("seconds") > 0 for each in (parsed, *runs))
    assert (parsed, runs) == ({"family": FAMILY}, [{"family": FAMILY, "kernels": 1}] * 2)
    (sample,) = sharing.pop("compared")
    assert sample in compiled
    assert sharing == {"not_shared": [], "different": [], "known": []}


@pytest.mark.slow
def test_paranoid_compares_all_and_a_difference_is_reported(build: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is injected into the comparison. Nothing is wrong with what was built: it is nvcc's own."""
    monkeypatch.setattr(self_check, "difference", lambda one, other: "the content of .text")
    result = build("--paranoid", "--json")
    assert (result.code, result.json["ready"]) == (0, 2)
    compiled = sorted(each["id"] for each in result.json["compiled"])
    sharing = result.json["sharing"]
    assert sorted(sharing["compared"]) == compiled
    assert sorted(each["id"] for each in sharing["different"]) == compiled
    assert {each["difference"] for each in sharing["different"]} == {"the content of .text"}
    words = "a shared front end and nvcc alone make different kernels; nvcc's is used: the content of .text"
    assert sorted(result.err.splitlines()) == [f"{each}: {words}" for each in compiled]


@pytest.mark.parametrize(
    ("option", "variable", "shared"),
    [("", "", True), ("", "0", True), ("", "1", False), ("--no-shared-front-end", "", False)],
    ids=["default", "variable is 0", "variable is 1", "option"],
)
def test_sharing_is_switched_off(
    build: Run,
    toolchain: Toolchain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    variable: str,
    shared: bool,
) -> None:
    """With a compiler that refuses everything, the test is quick: it shows whether a shared front end was tried."""
    monkeypatch.setenv("CUDA_HOME", str(refusing_toolkit(tmp_path / "cuda", toolchain)))
    monkeypatch.setenv("KREGISTRY_NO_SHARED_FRONT_END", variable)
    result = build("--json", *filter(None, [option]))
    assert result.code == 5
    failed = [each["id"] for each in result.json["failed"]]
    assert len(failed) == 2
    assert {each["output"] for each in result.json["failed"]} == {"kernel.cu(3): error: too many registers"}
    sharing = result.json["sharing"]
    if shared:
        (told,) = sharing["not_shared"]
        assert told["reason"] == "the shared front end failed: kernel.cu(3): error: too many registers"
        assert sorted(told["kernels"]) == failed
    else:
        assert sharing == NOTHING


@pytest.mark.parametrize("variable", ["", "1"])
def test_paranoid_without_anything_to_compare_is_refused(
    build: Run, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KREGISTRY_NO_SHARED_FRONT_END", variable)
    result = build("--paranoid", *([] if variable else ["--no-shared-front-end"]))
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[-2:] == [
        "error: paranoid compares shared front ends, and none are shared",
        "hint: leave out --paranoid, or --no-shared-front-end and KREGISTRY_NO_SHARED_FRONT_END",
    ]


def test_the_table_counts_a_share_of_a_front_end_as_the_kernels_own(capsys: pytest.CaptureFixture[str]) -> None:
    """The table shows the cost of a family; the JSON lists each front end."""
    plan = plan_of(planned((1, 8, "01")))
    compiled = (CompiledKernel(K[0], 2.5, 512), CompiledKernel(K[1], 1.25, 512, front_end_seconds=1.0))
    print_report(BuildReport(plan, compiled, 0, (), 2, "jit", 3.0, 2.0))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[1] == ["gemm", "2", "2", "0", "3.8", "1.0", "KiB"]
    assert " ".join(lines[-1]) == "2 of 2 kernels ready in jit (2 compiled, 0 found, 3.0 s)"
