"""Manifests are compared by kernel type and shape."""

from __future__ import annotations

from kregistry.manifest.document import parse_document
from kregistry.manifest.reader import read_manifest
from kregistry.registry import Registry
from kregistry.rehearsal.differences import differences

HEAD = "version: 1\ntarget: h100\nmodels:\n  m:\n    kernels:\n"
BEFORE = """\
      - {type: fp8_gemm_nt, label: a, shape: {n: 512, k: 1024}, m: {stop: 64}}
      - {type: fp8_gemm_nt, label: b, shape: {n: 256, k: 1024}, m: {stop: 64}}
      - {type: fp8_paged_mqa_logits, shape: {max_context_len: 4096, num_pages: 10}, batch_size: {stop: 8}}
"""
AFTER = """\
      - {type: fp8_paged_mqa_logits, shape: {max_context_len: 8192, num_pages: 99}, batch_size: {stop: 8}}
      - {type: fp8_gemm_nt, label: other, shape: {n: 512, k: 1024}, m: {start: 32, stop: 64}}
      - {type: fp8_gemm_nt, label: c, shape: {n: 128, k: 1024}, m: {stop: 64}}
"""


def test_labels_order_and_buffer_sizes_do_not_count() -> None:
    registry = Registry()
    before, after = (read_manifest(parse_document(HEAD + text, "m"), registry).entries for text in (BEFORE, AFTER))
    found = [str(each) for each in differences(before, after, registry.__getitem__)]
    assert found == [
        "~ fp8_gemm_nt a: n=512 k=1024 scales=f32, m 1..64 -> m 32..64",
        "- fp8_gemm_nt b: n=256 k=1024 scales=f32, m 1..64",
        "+ fp8_gemm_nt c: n=128 k=1024 scales=f32, m 1..64",
    ]
    assert not list(differences(before, before, registry.__getitem__))
