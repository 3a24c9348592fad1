"""kregistry report and kregistry show, of a real plan and build."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry.compile import BuildReport
from kregistry.kernel import Kernel
from kregistry.store import Store

Run = Callable[..., Result]


@pytest.fixture
def place(tiny_build: BuildReport, session_store: Store) -> tuple[str, ...]:
    return ("--store", str(session_store.directory), "--cache-dir", tiny_build.cache_directory)


def test_a_page_and_a_trace(
    kregistry: Run, tiny_file: Path, tiny_build: BuildReport, place: tuple[str, ...], tmp_path: Path
) -> None:
    output, trace = tmp_path / "r.html", tmp_path / "trace.json"
    result = kregistry("report", tiny_file, *place, "-o", output, "--trace", trace)
    assert (result.code, result.out, result.err) == (0, f"{output}: 1 of 1 kernels ready\n", "")
    text = output.read_text()
    assert "1 of 1 kernels ready" in text and f"build {tiny_build.id}" in text
    assert str(tmp_path) not in text
    assert len(json.loads(trace.read_text())["traceEvents"]) > 4


def test_a_page_of_a_lock_file_and_against_one(
    kregistry: Run, tiny_file: Path, tiny_build: BuildReport, place: tuple[str, ...], tmp_path: Path
) -> None:
    lock, output = tmp_path / "kernels.lock", tmp_path / "r.html"
    content = tiny_build.plan.to_json()
    lock.write_text(json.dumps(content))
    assert kregistry("report", lock, *place, "-o", output).code == 0
    assert "1 of 1 kernels ready" in output.read_text()
    content["target"]["num_sms"] = 131
    lock.write_text(json.dumps(content))
    assert kregistry("report", tiny_file, *place, "-o", output, "--against", lock).code == 0
    assert "SMs of the target: 131 in the file, 132 now" in output.read_text()


def test_wrong_input_of_a_report(kregistry: Run, tiny_file: Path, place: tuple[str, ...], tmp_path: Path) -> None:
    result = kregistry("report", tiny_file, *place, "--build", "20010101T000000-1")
    assert result.code == 2 and result.err.startswith("error: unknown build '20010101T000000-1'\n")
    result = kregistry("report", tiny_file, *place, "-o", tmp_path)
    hint = "hint: a directory is where a file should be: remove it"
    assert (result.code, result.err) == (4, f"error: {tmp_path}: Is a directory\n{hint}\n")


def test_one_value_of_m_is_shown(kregistry: Run, tiny_file: Path, place: tuple[str, ...], kernel: Kernel) -> None:
    for where in (("hc", "n=24", "-f", tiny_file), (f"{tiny_file}:7",)):
        result = kregistry("show", *where, "m=3", *place)
        assert (result.code, result.err) == (0, "")
        lines = result.out.splitlines()
        assert lines[0] == "entry     tiny: tf32_hc_prenorm_gemm n=24 k=256 num_splits=none (hc)"
        assert lines[2] == f"kernel    {kernel.id}"
        assert lines[3].strip().startswith("in the store and in the JIT cache, compiled")
        assert "SHAPE_N=24" in result.out and "kernel.cubin" in result.out


def test_all_entries_and_one(kregistry: Run, tiny_file: Path, place: tuple[str, ...], kernel: Kernel) -> None:
    result = kregistry("show", "-f", tiny_file, *place)
    assert result.code == 0 and "█" in result.out
    assert kregistry("show", tiny_file, *place) == result, "as every other command takes it"
    twice = kregistry("show", "-f", "other.yaml", tiny_file, *place)
    assert (twice.code, twice.err) == (2, f"error: two files: other.yaml and {tiny_file}\nhint: name one of them\n")
    whole = kregistry("show", "-f", tiny_file, "hc", "--json", *place).json
    assert [list(each["kernels"]) for each in whole] == [[kernel.id]]
    assert whole[0]["kernels"][kernel.id]["state"] == "ready"


def test_an_entry_that_is_not_there(kregistry: Run, tiny_file: Path, place: tuple[str, ...]) -> None:
    result = kregistry("show", "-f", tiny_file, "hcc", *place)
    assert (result.code, result.err) == (2, f"error: {tiny_file} has no entry 'hcc'\nhint: did you mean 'hc'?\n")
