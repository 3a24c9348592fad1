"""The hooks for SGLang, with a stand-in for its module: which arguments they take, and what happens if they fail."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kregistry import get_target
from kregistry.integrations import sglang
from kregistry.integrations.sglang.warmup_override import SglangOverride
from kregistry.manifest import Entry


class DeepGemmKernelType(IntEnum):
    """SGLang's enum of that name, in part."""

    GEMM_NT_F8F8BF16 = 0
    GEMM_NT_BF16BF16F32 = 1
    GROUPED_GEMM_NT_BF16_MASKED = 2


DENSE = DeepGemmKernelType.GEMM_NT_F8F8BF16


def own_hook(*args: object, **kwargs: object) -> str:
    return f"own {args} {kwargs}"


@pytest.fixture
def utils() -> SimpleNamespace:
    """SGLang's ``compile_utils``."""
    return SimpleNamespace(
        deep_gemm_execution_hook=own_hook,
        disable_symmetric_memory_context=lambda: "saved",
        restore_symmetric_memory_context=lambda saved: None,
        _BUILTIN_M_LIST=[1, 64],
        _ENABLE_JIT_DEEPGEMM_PRECOMPILE=True,
        _DO_COMPILE_ALL=True,
    )


@pytest.fixture
def warmed() -> list[str]:
    """The entries that were warmed up."""
    return []


@pytest.fixture
def override(utils: SimpleNamespace, warmed: list[str], monkeypatch: pytest.MonkeyPatch) -> SglangOverride:
    made = SglangOverride(utils)

    def warm(entries: Iterable[Entry]) -> None:
        warmed.extend(f"{each.shape.kernel_type} {each.shape} {each.range}" for each in entries)

    made.engine._target = get_target("h100")
    monkeypatch.setattr(made.engine, "warm", warm)
    return made


def original(*args: Any, **kwargs: Any) -> str:
    return f"SGLang's own {args} {kwargs}"


GROUP = {"kernel_type": DENSE, "n": 512, "k": 1024, "num_groups": 1, "m_list": [1, 16]}


@pytest.mark.parametrize("extra", [{}, {"server_args": object()}])
def test_a_group_is_warmed_up_whatever_else_is_passed(
    override: SglangOverride, warmed: list[str], extra: dict[str, Any]
) -> None:
    assert override.compile_one_type(original, **GROUP, **extra) is None
    assert override.compile_one_type(original, *GROUP.values(), *extra.values()) is None
    assert len(warmed) == 2 and "n=512 k=1024" in warmed[0] and warmed[0].endswith("m 1..16")


def test_another_kernel_type_is_left_to_sglang_with_all_arguments(override: SglangOverride, warmed: list[str]) -> None:
    call = {**GROUP, "kernel_type": DeepGemmKernelType.GEMM_NT_BF16BF16F32, "more": 1}
    assert override.compile_one_type(original, **call) == original(**call)
    assert warmed == []


@pytest.mark.parametrize("call", [{"group": 5}, {**GROUP, "m_list": []}, {**GROUP, "kernel_type": None}])
def test_a_call_that_cannot_be_read_is_left_to_sglang(
    override: SglangOverride, caplog: pytest.LogCaptureFixture, call: dict[str, Any]
) -> None:
    assert override.compile_one_type(original, **call) == original(**call)
    assert "kregistry cannot read what SGLang warms up: SGLang's own path runs" in caplog.text


def test_a_warm_up_that_fails_is_left_to_sglang(
    override: SglangOverride, utils: SimpleNamespace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(entries: object) -> None:
        raise ValueError("of the warm-up")

    monkeypatch.setattr(override.engine, "warm", fail)
    assert override.compile_one_type(original, **GROUP) == original(**GROUP)
    assert "kregistry cannot warm up GEMM_NT_F8F8BF16 n=512 k=1024: SGLang's own path runs" in caplog.text
    assert utils.deep_gemm_execution_hook is own_hook and not override.engine.warming


def test_an_error_of_sglang_itself_stays(override: SglangOverride) -> None:
    calls = []

    def fail(**call: object) -> None:
        calls.append(override.engine.warming)
        raise MemoryError("SGLang's")

    with pytest.raises(MemoryError, match="SGLang's"):
        override.compile_one_type(
            fail, kernel_type=DeepGemmKernelType.GEMM_NT_BF16BF16F32, n=1, k=1, num_groups=1, m_list=[1]
        )
    assert calls == [True] and not override.engine.warming


def test_the_execution_hook_of_a_warmed_group(override: SglangOverride, utils: SimpleNamespace) -> None:
    override.compile_one_type(original, **GROUP)
    hook = utils.deep_gemm_execution_hook
    assert isinstance(hook(7, 512, 1024, 1, DENSE), nullcontext)
    assert isinstance(hook(m=7, n=512, k=1024, num_groups=1, kernel_type=DENSE, stream=None), nullcontext)
    assert hook(7, 512, 1024, 2, DENSE) == own_hook(7, 512, 1024, 2, DENSE)
    for args in ((), (7,), (7, 512, 1024, 1, None), (7, [512], 1024, 1, DENSE)):
        assert hook(*args) == own_hook(*args)  # another form of call


@pytest.mark.parametrize(("args", "kwargs"), [((0,), {}), ((0, "server_args"), {}), ((0,), {"server_args": object()})])
def test_configured_takes_what_any_version_passes(
    override: SglangOverride,
    warmed: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """SGLang 0.5.15 passes (gpu_id, server_args), 0.5.23 gpu_id."""
    override.configured(None, *args, **kwargs)
    assert warmed == []
    path = tmp_path_factory.mktemp("manifest") / "kernels.yaml"
    path.write_text(
        "version: 1\nmodels:\n  m:\n    kernels:\n      - {type: fp8_gemm_nt, shape: {n: 512, k: 1024}, m: {stop: 8}}\n"
    )
    monkeypatch.setenv("KREGISTRY_MANIFEST", str(path))
    override.configured(None, *args, **kwargs)
    assert len(warmed) == 1 and warmed[0].endswith("m 1..8")


def test_a_manifest_that_cannot_be_read_is_logged(
    override: SglangOverride, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KREGISTRY_MANIFEST", "/no/such/kernels.yaml")
    override.configured(None, 0, server_args=object())
    assert "kregistry cannot warm up KREGISTRY_MANIFEST: SGLang's own path runs" in caplog.text


def test_an_sglang_that_is_not_as_expected_runs_without_hooks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its wrapper has no ``deep_gemm_execution_hook``, or there is no hook registry."""
    monkeypatch.setitem(sys.modules, sglang._COMPILE_UTILS, ModuleType("compile_utils"))
    with caplog.at_level(logging.INFO):
        sglang.register()
        assert "kregistry cannot register its hooks: SGLang runs without them" in caplog.text
        monkeypatch.setenv("KREGISTRY_SGLANG", "0")
        sglang.register()
    assert "kregistry is off (KREGISTRY_SGLANG)" in caplog.text
