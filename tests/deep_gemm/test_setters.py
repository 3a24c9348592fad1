"""Process-wide setters: each one of the installed DeepGEMM is known, and one without a getter is remembered."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from on_stub import answer

from kregistry.deep_gemm.known_settings import BLOCK_SIZE_MULTIPLE_OF, HARMLESS_SETTERS, KNOWN
from kregistry.deep_gemm.setters import last_argument, observe_setters


@pytest.mark.stub
def test_every_setter_of_the_installed_deep_gemm_is_known(tmp_path: Path) -> None:
    """A new version may have a new one: make it a Setting, or prove below that it changes no kernel."""
    found = answer("answer(names=[name for name in dir(deep_gemm) if name.startswith(('set_', 'use_'))])", tmp_path)
    known = {*(setting.set for setting in KNOWN), *HARMLESS_SETTERS}
    names: Any = found["names"]
    assert set(names) - known == set()
    assert {"set_num_sms", "set_pdl"} <= set(names)


@pytest.mark.stub
def test_the_harmless_setters_change_no_kernel(tmp_path: Path) -> None:
    script = """
    from pathlib import Path
    def bf16(m):
        a, b = (torch.empty(rows, 512, dtype=torch.bfloat16, device="cuda") for rows in (m, 256))
        deep_gemm.bf16_gemm_nt(a, b, torch.empty(m, 256, dtype=torch.bfloat16, device="cuda"))
    def run():
        for m in (1, 64, 200):
            (args, kwargs) = fp8(m)
            deep_gemm.fp8_gemm_nt(*args, **kwargs)
            (args, kwargs) = hc(m)
            deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
            bf16(m)
        return sorted(str(path) for path in Path(os.environ["HOME"]).rglob("*.cubin"))
    before = run()
    deep_gemm.set_pdl(not deep_gemm.get_pdl())
    deep_gemm.set_tc_util(40)
    answer(before=len(before), same=run() == before)
    """
    found = answer(script, tmp_path)
    assert found["same"] is True
    assert isinstance(found["before"], int) and found["before"] > 3


def test_what_is_set_is_remembered_and_still_set() -> None:
    calls: list[Any] = []

    def set_it(value: Any) -> None:
        if value == "bad":
            raise ValueError(value)
        calls.append(value)

    module: Any = SimpleNamespace(set_it=set_it)
    observe_setters(module, ("set_it", "no_such"))
    observe_setters(module, ("set_it",))
    assert last_argument(module, "set_it", 1) == 1
    module.set_it((1, 64))
    module.set_it(value=(1, 32))
    with pytest.raises(ValueError, match="bad"):
        module.set_it("bad")
    assert calls == [(1, 64), (1, 32)]
    assert last_argument(module, "set_it", 1) == (1, 32)
    assert last_argument(ModuleType("another"), "set_it", 1) == 1


@pytest.mark.parametrize(("argument", "value"), [(64, "64x64"), ((1, 64), "1x64"), ([16, 1], "16x1")])
def test_block_sizes_are_read_in_every_form(argument: Any, value: str) -> None:
    assert BLOCK_SIZE_MULTIPLE_OF.from_argument(argument) == value
    assert BLOCK_SIZE_MULTIPLE_OF.dimension.accepts(value)
    assert BLOCK_SIZE_MULTIPLE_OF.to_argument("1x64") == (1, 64)
