"""A kernel that DeepGEMM chooses and that does not compile, in a group: the others are ready, it is named alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from builds import Build

from kregistry import Registry, load_manifest, make_plan
from kregistry.compile.broken_calls import broken_kernels
from kregistry.compile.shared.kernel_family import member_of
from kregistry.verify import verify_kernels

#: For m up to 32 DeepGEMM 0.1.4 chooses a block that its own header refuses; see docs/upstream-broken-kernels.md. The
#: next three blocks compile, and so does the transpose of the scales, which includes another header.
MANIFEST = """
version: 1
target: h100
models:
  trained:
    kernels:
      - {type: fp8_gemm_nt_wgrad, shape: {n: 2112, k: 256}, m: {start: 17, stop: 192}}
"""
WORDS = 'sm90_fp8_gemm_1d1d.cuh(61): error: static assertion failed with "Invalid block size"'


@pytest.mark.slow
def test_a_broken_kernel_of_deep_gemm_in_a_group(build: Build, tmp_path: Path, stub_directory: Path) -> None:
    path = tmp_path / "kernels.yaml"
    path.write_text(MANIFEST)
    registry = Registry()
    plan = make_plan(load_manifest(path, registry), registry, processes=1, stub_directory=stub_directory)
    assert plan.problems() == ()
    family = {kernel.id: kernel for kernel in plan.kernels.values() if kernel.name == "sm90_fp8_gemm_1d1d"}
    assert (len(family), len(plan.kernels)) == (4, 5)
    assert len({member_of(kernel).family for kernel in family.values()}) == 1
    (broken,) = [family[each] for each in plan.entries[0].segments[0].kernels if each in family]
    others = [kernel for kernel in plan.kernels.values() if kernel is not broken]

    *others_before, neighbour = others
    build.run(*others_before)  # the family's sample is compared: nothing keeps the smallest from being in a group
    record = build.run(neighbour, broken)

    groups = [{kernel.id for kernel in each["kernels"]} for each in build.heard("kregistry_front_end_started")]
    assert groups[0] == {neighbour.id, broken.id}
    assert [each.kernel for each in record.compiled] == [neighbour]
    assert verify_kernels(others, build.store, build.jit_cache).faults == ()
    assert build.store.get(broken.key) is None
    assert not build.jit_cache.entry(broken).exists()

    (failed,) = record.failed
    (heard,) = build.heard("kregistry_kernel_failed")
    assert failed.kernel is heard["kernel"] is broken
    assert WORDS in failed.output
    assert failed.output.count("error: ") == 2, "the errors of this kernel and of no other"
    assert str(build.nvcc) in failed.command
    (said,) = broken_kernels(plan, record.failed)
    assert str(said).splitlines()[:2] == [
        f"{broken.id} does not compile",
        "    a server would crash in trained: fp8_gemm_nt_wgrad n=2112 k=256 at m 17..32",
    ]

    (told,) = build.heard("kregistry_front_end_not_shared")
    assert told["kernel"] is broken
    assert told["reason"].startswith("the shared front end failed: ") and told["reason"].endswith(WORDS)
    report = record.sharing()
    assert [run.kernels for run in report.front_ends] == [(neighbour,)]
    assert report.compared == ()
