"""What the indexer's kernel types must plan: as catalogue_cases.py, measured in the same way."""

from __future__ import annotations

from typing import Any

Case = tuple[str, dict[str, Any], tuple[int, int, int], int | None, int | None]

_EVERY = (1, 4096, 1)
_BATCH = (1, 1024, 1)

CASES: list[Case] = [
    ("fp8_mqa_logits", {"num_heads": 64, "seq_len_kv": 65536}, _EVERY, 1, 1),
    ("fp8_mqa_logits", {"num_heads": 64, "seq_len_kv": 65536, "logits": "compressed"}, _EVERY, 1, 1),
    ("fp8_mqa_logits", {"num_heads": 64, "seq_len_kv": 65536, "logits": "clean"}, (1, 512, 1), 2, 2),
    ("fp8_mqa_logits", {"num_heads": 32, "seq_len_kv": 65536}, _EVERY, 1, 1),
    ("fp8_mqa_logits", {"num_heads": 16, "seq_len_kv": 131072}, _EVERY, None, 1),
    ("fp8_fp4_mqa_logits", {"num_heads": 64, "seq_len_kv": 65536}, _EVERY, 1, 1),
    ("fp8_fp4_mqa_logits", {"num_heads": 64, "operands": "fp4", "seq_len_kv": 65536}, _EVERY, None, 1),
    ("fp8_fp4_mqa_logits", {"operands": "fp4", "logits": "compressed", "seq_len_kv": 65536}, _EVERY, None, 1),
    ("fp8_fp4_mqa_logits", {"logits_dtype": "bfloat16", "weights_dtype": "bfloat16"}, _EVERY, None, 1),
    ("fp8_fp4_mqa_logits", {"logits_dtype": "bfloat16", "logits": "clean"}, (1, 512, 1), 2, 2),
    ("mxfp8_mqa_logits", {"seq_len_kv": 65536}, (1, 64, 1), None, None),
    ("get_paged_mqa_logits_metadata", {}, _BATCH, 32, 1),
    ("get_paged_mqa_logits_metadata", {"next_n": 2}, _BATCH, 32, 1),
    ("get_paged_mqa_logits_metadata", {"next_n": 4}, _BATCH, 32, 1),
    ("get_paged_mqa_logits_metadata", {"indices": True}, _BATCH, None, 1),
    ("get_paged_mqa_logits_metadata", {"block_kv": 32}, _BATCH, None, 1),
    ("get_paged_mqa_logits_metadata", {"block_kv": 128}, (1, 8, 1), None, None),
    ("fp8_paged_mqa_logits", {"num_heads": 64, "max_context_len": 65536, "num_pages": 4096}, _BATCH, 1, 1),
    ("fp8_paged_mqa_logits", {"num_heads": 64, "next_n": 2}, _BATCH, 1, 1),
    ("fp8_paged_mqa_logits", {"num_heads": 64, "next_n": 3}, _BATCH, None, 1),
    ("fp8_paged_mqa_logits", {"num_heads": 64, "next_n": 4}, _BATCH, None, 1),
    ("fp8_paged_mqa_logits", {"num_heads": 64, "indices": True}, _BATCH, None, 1),
    ("fp8_fp4_paged_mqa_logits", {"num_heads": 64, "next_n": 2}, _BATCH, 1, 1),
    ("fp8_fp4_paged_mqa_logits", {"num_heads": 64, "operands": "fp4"}, _BATCH, None, 1),
    ("mxfp8_paged_mqa_logits", {"num_heads": 64}, (1, 64, 1), None, None),
    # DeepGEMM 0.2 only.
    ("get_mqa_logits_metadata", {}, (1, 64, 1), None, None),
    ("scheduled_mqa_logits", {}, (1, 64, 1), None, None),
    ("get_sparse_mqa_logits_metadata", {"num_sparse_blocks": 64}, (1, 64, 1), None, None),
    ("fp8_fp4_sparse_mqa_logits", {"num_sparse_blocks": 64}, (1, 64, 1), None, None),
    ("get_paged_sparse_mqa_logits_metadata", {"num_sparse_blocks": 64}, (1, 64, 1), None, None),
    ("fp8_fp4_paged_sparse_mqa_logits", {"num_sparse_blocks": 64}, (1, 64, 1), None, None),
]
