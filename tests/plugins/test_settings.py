"""The scope of a shape sets DeepGEMM's process-wide settings, and puts back what was in force, errors included."""

from __future__ import annotations

import pytest

from kregistry import Registry, get_target


def test_mk_alignment_is_in_force_inside_the_scope_only() -> None:
    import deep_gemm

    kernel_type = Registry()["m_grouped_bf16_gemm_nt_contiguous"]
    shape = kernel_type.resolve({"num_groups": 2, "n": 64, "k": 64, "mk_alignment": 64}, get_target("h100"))
    before = deep_gemm.get_mk_alignment_for_contiguous_layout()
    with pytest.raises(RuntimeError, match="inside"), kernel_type.scope(shape):
        assert deep_gemm.get_mk_alignment_for_contiguous_layout() == 64 != before
        raise RuntimeError("inside")
    assert deep_gemm.get_mk_alignment_for_contiguous_layout() == before
