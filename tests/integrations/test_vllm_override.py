"""The hook for vLLM, with a stand-in for its modules: what is warmed up, and what happens if that fails."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kregistry import get_target
from kregistry.integrations.vllm.warmup_override import VllmOverride
from kregistry.jit_monitor import JitEvent, Outcome
from kregistry.manifest import Entry


class Model:
    """A torch module as far as vLLM's warm-up looks at it: two equal linear layers, one layer of experts."""

    def modules(self) -> Iterator[str]:
        return iter(["linear", "experts", "linear", "norm"])


def tensor(*shape: int) -> SimpleNamespace:
    return SimpleNamespace(shape=shape)


class Warmup(ModuleType):
    """vLLM's module ``deep_gemm_warmup``; ``calls`` are those of its own functions."""

    def __init__(self) -> None:
        super().__init__("vllm.model_executor.warmup.deep_gemm_warmup")
        self.calls: list[str] = []
        self.deep_gemm_warmup = self._own

    def _own(self, *args: object, **kwargs: object) -> str:
        self.calls.append("own")
        return f"vLLM's own {args[1:]} {kwargs}"

    def _deep_gemm_linear_data(self, layer: str) -> Any:
        return (tensor(512, 1024), None) if layer == "linear" else None

    def _fused_moe_grouped_gemm_may_use_deep_gemm(self, layer: str) -> bool:
        return layer == "experts"

    def _extract_data_from_fused_moe_module(self, layer: str) -> Any:
        return tensor(4, 256, 512), None, tensor(4, 512, 128), None, 2

    def _get_grouped_gemm_params(self, w13: Any, w2: Any, top_k: int, max_tokens: int) -> Any:
        return 1024, None, None

    def deepgemm_grouped_fp8_gemm_nt_contiguous_warmup(self, *args: object) -> None:
        self.calls.append("grouped")

    def deepgemm_fp8_fp4_mega_moe_warmup(self, *args: object) -> None:
        self.calls.append("mega moe")


@pytest.fixture
def warmup() -> Warmup:
    return Warmup()


@pytest.fixture
def warmed() -> list[str]:
    return []


@pytest.fixture
def override(warmup: Warmup, warmed: list[str], monkeypatch: pytest.MonkeyPatch) -> VllmOverride:
    made = VllmOverride()

    def warm(entries: Iterable[Entry]) -> None:
        warmed.extend(f"{each.shape.kernel_type} {each.shape} {each.range}" for each in entries)

    made.engine._target = get_target("h100")
    monkeypatch.setattr(made.engine, "warm", warm)
    made.replace(warmup)
    return made


def test_every_call_site_is_warmed_up_once_whatever_else_is_passed(
    override: VllmOverride, warmup: Warmup, warmed: list[str]
) -> None:
    assert warmup.deep_gemm_warmup(Model(), 64) is None
    assert [each.split()[0] for each in warmed] == ["fp8_gemm_nt", *["m_grouped_fp8_gemm_nt_contiguous"] * 2]
    assert warmed[0].endswith("m 1..64") and "m 128..1024" in warmed[1]
    assert warmup.deep_gemm_warmup(model=Model(), max_tokens=64, vllm_config=object()) is None
    assert len(warmed) == 6 and warmup.calls == ["mega moe", "mega moe"]


def test_on_blackwell_both_forms_of_scale_factors_and_vllms_own_grouped_warm_up(
    override: VllmOverride, warmup: Warmup, warmed: list[str]
) -> None:
    override.engine._target = get_target("b200")
    warmup.deep_gemm_warmup(Model(), 64)
    assert len(warmed) == 6 and warmup.calls == ["grouped", "mega moe"]


@pytest.mark.parametrize("missing", ["_deep_gemm_linear_data", "deepgemm_fp8_fp4_mega_moe_warmup"])
def test_a_vllm_without_a_function_runs_its_own_path(
    override: VllmOverride,
    warmup: Warmup,
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delattr(Warmup, missing)
    assert warmup.deep_gemm_warmup(Model(), 64, more=1) == "vLLM's own (64,) {'more': 1}"
    assert warmup.calls == ["own"]
    assert "kregistry cannot warm up DeepGEMM: vLLM's own path runs" in caplog.text


def test_the_name_is_replaced_wherever_it_was_imported_to(override: VllmOverride, warmup: Warmup) -> None:
    importer = ModuleType("vllm.model_executor.warmup.kernel_warmup")
    importer.deep_gemm_warmup = warmup._own  # type: ignore[attr-defined]
    override.replace(importer)
    override.replace(warmup)
    assert importer.deep_gemm_warmup == warmup.deep_gemm_warmup == override.deep_gemm_warmup
    assert override._module is warmup


def test_an_error_of_vllms_monitor_is_logged(
    override: VllmOverride, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its mode ``error``, and a version whose monitor has another function."""
    event = JitEvent(0.0, 1, "", "kernel", (), Outcome.COMPILED, 1.0)
    override.kregistry_jit_compiled(event)
    assert caplog.text == ""

    def refuse(**_: object) -> None:
        raise RuntimeError("no compile while serving")

    for monitor in (SimpleNamespace(is_active=lambda: True, _handle_jit_event=refuse), SimpleNamespace()):
        monkeypatch.setitem(sys.modules, "vllm.utils.jit_monitor", monitor)  # type: ignore[arg-type]
        override.kregistry_jit_compiled(event)
    assert "RuntimeError: no compile while serving" in caplog.text and "AttributeError" in caplog.text
