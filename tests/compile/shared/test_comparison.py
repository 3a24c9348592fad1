"""The comparison: ids of a compilation do not count, everything else does."""

from __future__ import annotations

import pytest

from kregistry.compile.shared.comparison import difference, without_id
from kregistry.store.cubin import sections_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_ZN39_INTERNAL_b22f729c_4_0_cu_ac9dbaf4_66034cuda3std3__45__cpo5beginE", "_ZN4cuda3std3__45__cpo5beginE"),
        ("_ZN38_INTERNAL_4dd31835_8_group_cu_c988f56b4cuda1aE", "_ZN4cuda1aE"),
        (
            "_ZN38_INTERNAL_4dd31835_8_group_cu_c988f56b4cuda3std3__440_GLOBAL__N__4dd31835_8_group_cu_c988f56b6ignoreE",
            "_ZN4cuda3std3__46ignoreE",
        ),
        ("_ZN9deep_gemm4gemmILj1EEEvPf", "_ZN9deep_gemm4gemmILj1EEEvPf"),
        ("12_INTERNAL_no_id", "12_INTERNAL_no_id"),
        ("$str$17", "$str"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert without_id(name) == expected


def test_a_cubin_is_itself(cubin: bytes) -> None:
    assert difference(cubin, cubin) == ""


def test_one_bit_of_code_is_a_difference(cubin: bytes) -> None:
    code = next(section for section in sections_of(cubin) if section.name.startswith(".text."))
    where = cubin.index(code.content)
    changed = bytearray(cubin)
    changed[where] ^= 1
    found = difference(cubin, bytes(changed))
    assert found == f"the content of {code.name}, {len(code.content)} bytes"
