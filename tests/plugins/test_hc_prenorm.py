"""The largest output of tf32_hc_prenorm_gemm under each policy."""

from __future__ import annotations

import pytest

from kregistry.kernel_type import Shape
from kregistry.registry import Registry
from kregistry.target import TARGETS
from kregistry_plugins.hc_prenorm.num_splits import POLICIES, ROWS


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("max_m", [1, 63, 64, 65, 1000, 8448, 9000])
def test_the_buffers_hold_the_output_of_every_m(policy: str, max_m: int, registry: Registry) -> None:
    """Blocks of rows are enough: every policy has one value in a block."""
    kernel_type = registry["tf32_hc_prenorm_gemm"]
    shape = Shape("tf32_hc_prenorm_gemm", (("n", 24), ("k", 7168), ("num_splits", policy)), TARGETS["h200"])
    rows = kernel_type.buffers(shape, max_m)["sqr_sum"].shape[0]
    assert rows == max(POLICIES[policy](shape, m) * m for m in range(1, max_m + 1))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_has_one_value_for_a_block_of_rows(policy: str) -> None:
    shape = Shape("tf32_hc_prenorm_gemm", (("n", 24), ("k", 7168), ("num_splits", policy)), TARGETS["h200"])
    for block in range(200):
        first, last = block * ROWS + 1, (block + 1) * ROWS
        assert len({POLICIES[policy](shape, m) for m in range(first, last + 1)}) == 1
