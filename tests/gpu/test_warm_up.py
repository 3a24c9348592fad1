"""Warm-up on a real device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import kregistry
from kregistry.errors import MissingRequirement, WarmupError
from kregistry.warm_up import Warmed, WarmupReport

RANKS = 3
RANK_SCRIPT = """\
import sys
import torch.distributed
import kregistry
rank, ranks, directory = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.distributed.init_process_group("gloo", init_method=f"file://{directory}/meet", rank=rank, world_size=ranks)
report = kregistry.warmup(
    f"{directory}/kernels.yaml", store=f"{directory}/store", cache_dir=f"{directory}/cache", barrier="torch.distributed"
)
report.raise_problems()
assert (report.build is None) == (rank != 0)
print("loaded", len(report.loaded), "of", report.total, "compiled", len(report.compiled))
"""


def warm(directory: Path, **options: object) -> WarmupReport:
    return kregistry.warmup(directory / "kernels.yaml", store=directory / "store", **options)  # type: ignore[arg-type]


def test_a_loads_every_kernel_and_frees_everything(workplace: Path) -> None:
    import torch

    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    report = warm(workplace)
    report.raise_problems()
    assert len(report.loaded) == report.total > 4
    assert report.compiled == report.left == report.failed == ()
    assert report.peak_bytes > 4096 * 7168
    reserved = torch.cuda.memory_reserved()  # what DeepGEMM itself keeps: the workspace of cuBLASLt
    warm(workplace, replan=True)
    assert torch.cuda.memory_reserved() == reserved <= before + (32 << 20)


def test_what_does_not_fit_the_budget_is_left_on_disk_and_said(workplace: Path) -> None:
    report = warm(workplace, memory_budget="4MiB")
    report.raise_problems()
    assert {each.entry.label for each in report.left} == {"wide"}
    assert {each.outcome for each in report.launches} == {Warmed.LOADED, Warmed.LEFT}
    assert "needs" in report.left[0].text and "the memory budget is 4194304" in report.left[0].text


def test_borrowed_weights_are_not_allocated_again(workplace: Path) -> None:
    import torch

    weight = torch.empty(4096, 7168, dtype=torch.float8_e4m3fn, device="cuda")
    report = warm(workplace, memory_budget="8MiB", lend={"wide": {"b": weight}})
    report.raise_problems()
    assert report.left == ()


def test_an_error_in_one_entry_does_not_stop_the_rest(workplace: Path) -> None:
    import torch

    wrong = torch.empty(4096, 7168, dtype=torch.bfloat16, device="cuda")
    report = warm(workplace, lend={"wide": {"b": wrong}})
    assert {each.entry.label for each in report.failed} == {"wide"}
    assert len(report.loaded) >= 4
    with pytest.raises(WarmupError, match="launches failed"):
        report.raise_problems()


def test_another_cache_directory_is_refused_once_deep_gemm_is_imported(workplace: Path) -> None:
    with pytest.raises(MissingRequirement, match="already imported with DG_JIT_CACHE_DIR"):
        warm(workplace, cache_dir=workplace / "other")


def test_one_rank_builds_and_all_load(tmp_path: Path, workplace: Path) -> None:
    (tmp_path / "kernels.yaml").write_text((workplace / "kernels.yaml").read_text())
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK_SCRIPT, str(rank), str(RANKS), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    outputs = [rank.communicate(timeout=300) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * RANKS, outputs
    lines = {out.splitlines()[-1] for out, _ in outputs}
    assert len(lines) == 1
    assert lines.pop().endswith("compiled 0")
