"""Recordings become manifests that cover what was called."""

from __future__ import annotations

from kregistry import Registry, get_target
from kregistry.recording.recording import Recording

H100 = get_target("h100")


def kernels(recording: Recording) -> list[object]:
    registry = Registry()
    content = recording.manifest(registry.__getitem__, H100)
    assert content["target"] == "h100"
    found: list[object] = content["models"]["recorded"]["kernels"]
    return found


def test_ranges_span_the_values_in_the_steps_of_the_kernel_type() -> None:
    recording = Recording()
    shape = {"num_groups": 2, "n": 512, "k": 1024, "scales": "f32"}
    for m in (384, 128, 512):
        recording.add("m_grouped_fp8_gemm_nt_contiguous", shape, m)
    for m in (7, 3):
        recording.add("fp8_gemm_nt", {"n": 512, "k": 1024, "scales": "f32"}, m)
    assert kernels(recording) == [
        {"type": "fp8_gemm_nt", "shape": {"n": 512, "k": 1024, "scales": "f32"}, "m": {"start": 3, "stop": 7}},
        {"type": "m_grouped_fp8_gemm_nt_contiguous", "shape": shape, "m": {"start": 128, "stop": 512, "step": 128}},
    ]
    recording.add("m_grouped_fp8_gemm_nt_contiguous", shape, 130)
    assert kernels(recording)[1]["m"] == {"start": 128, "stop": 512, "step": 1}  # type: ignore[index]


def test_a_number_that_follows_a_rule_becomes_the_rule() -> None:
    registry, recording = Registry(), Recording()
    kernel_type = registry["tf32_hc_prenorm_gemm"]
    rule = kernel_type.resolve({"n": 24, "k": 16384, "num_splits": "occupancy"}, H100)
    dimension = next(each for each in kernel_type.dimensions if each.name == "num_splits")
    for m in (1, 500, 4000):
        recording.add(kernel_type.name, {"n": 24, "k": 16384, "num_splits": rule.at(dimension, m)}, m)
    shape = {"n": 24, "k": 16384, "num_splits": "occupancy"}
    assert kernels(recording) == [{"type": kernel_type.name, "shape": shape, "m": {"start": 1, "stop": 4000}}]
    recording.add(kernel_type.name, {"n": 24, "k": 16384, "num_splits": 3}, 2)
    assert len(kernels(recording)) == 4


def test_each_new_value_is_reported_once() -> None:
    told: list[int] = []
    recording = Recording(lambda key, m: told.append(m))
    for m in (1, 2, 1, 2, 3):
        recording.add("fp8_gemm_nt", {"n": 8, "k": 16}, m)
    assert told == [1, 2, 3]
