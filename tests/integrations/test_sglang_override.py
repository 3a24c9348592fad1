"""The hooks for SGLang, with a stand-in for its module: which arguments they take, and what happens if they fail."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from enum import IntEnum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kregistry import get_target
from kregistry.integrations import build_ahead, engine_warmup, sglang
from kregistry.integrations.ahead import Waited
from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.integrations.first_calls import FirstCalls
from kregistry.integrations.missing_calls import MissingCalls
from kregistry.integrations.remembered_calls import remembered
from kregistry.integrations.sglang import launching, warmup_override
from kregistry.integrations.sglang.warmup_override import SglangOverride
from kregistry.integrations.start_folder import VARIABLE, Request, StartFolder, Status
from kregistry.manifest import Entry
from kregistry.store import Store


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
def override(
    utils: SimpleNamespace, warmed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> SglangOverride:
    made = SglangOverride(utils)

    def warm(entries: Iterable[Entry]) -> None:
        warmed.extend(f"{each.shape.kernel_type} {each.shape} {each.range}" for each in entries)

    made.engine._target = get_target("h100")
    made.engine.store = Store(tmp_path)
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


def test_while_the_build_runs_the_call_itself_waits_for_its_kernel(
    override: SglangOverride, utils: SimpleNamespace, warmed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SGLang asks for a group once, and then makes the call, which is watched. Nothing waits before that."""
    loaded: list[int] = []
    monkeypatch.setattr(override.engine, "load_what_was_built_ahead", lambda: loaded.append(1))
    monkeypatch.setattr(EngineWarmup, "builds_ahead", True)
    assert override.compile_one_type(original, **GROUP) is None
    assert loaded == [1] and len(warmed) == 1  # no function is watched: as without a build
    monkeypatch.setattr(FirstCalls, "watches", True)
    assert override.compile_one_type(original, **{**GROUP, "n": 768}) is None
    assert loaded == [1] and len(warmed) == 1
    assert isinstance(utils.deep_gemm_execution_hook(7, 768, 1024, 1, DENSE), nullcontext)


@pytest.mark.parametrize("asked_by", ["SGLang's warm-up", "a call"])
def test_a_request_never_waits_for_a_range(
    override: SglangOverride, warmed: list[str], monkeypatch: pytest.MonkeyPatch, asked_by: str
) -> None:
    """Also if it is the first call since the build has ended, so that what was built is loaded by it."""
    live: list[int] = []
    monkeypatch.setattr(override.first_calls.missing, "in_live_traffic", lambda entries, m: live.append(m))
    over = SimpleNamespace(builds=False, wait_for_call=lambda *_: Waited.EVERYTHING)
    monkeypatch.setattr(override.engine, "_ahead", over)
    monkeypatch.setattr(override.engine, "load_what_was_built_ahead", lambda: setattr(override.engine, "_ahead", None))
    override.first_calls.is_ready = lambda: True
    if asked_by == "a call":
        kernel_type = override.engine.registry["fp8_gemm_nt"]
        override.first_calls._first_call(kernel_type, {"n": 512, "k": 1024}, 1, live=override.first_calls.live)
    else:
        assert override.compile_one_type(original, **GROUP) is None
    assert live == [1] and warmed == []


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


@pytest.fixture
def begun(override: SglangOverride, monkeypatch: pytest.MonkeyPatch) -> list[StartFolder]:
    """The folders that this process reads."""
    found: list[StartFolder] = []
    monkeypatch.setattr(override.engine, "begin", found.append)
    return found


@pytest.mark.parametrize(("args", "kwargs"), [((0,), {}), ((0, "server_args"), {}), ((0,), {"server_args": object()})])
def test_every_rank_reads_what_the_launch_has_had_built(
    override: SglangOverride,
    begun: list[StartFolder],
    utils: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """SGLang 0.5.15 passes (gpu_id, server_args), 0.5.23 gpu_id. Its own warm-up runs on the first rank only."""
    start = StartFolder.create(Store(tmp_path))
    start.write_request(Request("sglang", "m"))
    monkeypatch.setenv(VARIABLE, str(start.directory))
    utils._DO_COMPILE_ALL = False
    override.configured(None, *args, **kwargs)
    assert begun == [start] and override.first_calls.missing.key
    assert not override.first_calls.live
    start.mark_ready()
    assert override.first_calls.live


def test_a_rank_that_no_launch_of_ours_has_started_has_it_built_now(
    override: SglangOverride,
    begun: list[StartFolder],
    utils: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[Any, ...]] = []

    def begin(arguments: tuple[Any, ...]) -> StartFolder:
        started.append(arguments)
        return StartFolder.create(Store(tmp_path))

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(warmup_override, "begin_build", begin)
    override.configured(None, 0, server_args="args")
    assert started == [(0, "args")] and len(begun) == 1
    utils._DO_COMPILE_ALL = False
    override.configured(None, 1, server_args="args")  # the first rank does it for the whole machine
    utils._ENABLE_JIT_DEEPGEMM_PRECOMPILE = False
    override.configured(None, 0, server_args="args")
    assert len(started) == len(begun) == 1


def test_a_build_that_cannot_be_started_is_logged(
    override: SglangOverride, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(arguments: object) -> None:
        raise OSError("no more processes")

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(warmup_override, "begin_build", fail)
    override.configured(None, 0)
    assert "kregistry builds nothing before the first call" in caplog.text and "no more processes" in caplog.text


def test_the_warm_up_request_waits_for_all_builds_of_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for one that begins meanwhile; one that has died is waited for by nobody."""
    start = StartFolder.create(Store(tmp_path))
    monkeypatch.setenv(VARIABLE, str(start.directory))
    waited: list[StartFolder] = []

    def wait(folder: StartFolder) -> Status:
        waited.append(folder)
        if len(waited) == 1:
            start.following()
        return Status("failed", 0)

    monkeypatch.setattr(build_ahead, "wait_for_build", wait)
    launching.warming_up()
    assert waited == start.all_builds() and len(waited) == 2
    monkeypatch.delenv(VARIABLE)
    launching.warming_up()
    assert len(waited) == 2


@pytest.mark.parametrize("asked_by", ["SGLang's warm-up", "a call"])
def test_a_call_site_outside_a_finished_build_is_built_by_another_process(
    override: SglangOverride, warmed: list[str], monkeypatch: pytest.MonkeyPatch, asked_by: str
) -> None:
    """The call goes on at once. If that process brings nothing for it, the range is warmed up here."""
    done: list[str] = []
    engine, first_calls = override.engine, override.first_calls
    monkeypatch.setattr(first_calls, "missing", MissingCalls(engine.store, "model"))
    monkeypatch.setattr(FirstCalls, "watches", True)
    monkeypatch.setattr(engine, "_built", StartFolder.create(engine.store))

    def build_again() -> bool:
        done.append("built again")
        engine._built = None
        return True

    monkeypatch.setattr(engine, "build_again", build_again)
    if asked_by == "SGLang's warm-up":
        assert override.compile_one_type(original, **GROUP) is None
        assert done == warmed == []  # the call itself follows
    call = engine.registry["fp8_gemm_nt"], {"n": 512, "k": 1024}, 1
    first_calls._first_call(*call, live=False)
    assert done == ["built again"] and warmed == []
    assert len(list(remembered(engine.store, "model"))) == 1
    first_calls._first_call(*call, live=False)
    assert done == ["built again"] and len(warmed) == 1


def test_a_further_build_that_cannot_be_started_is_logged(
    override: SglangOverride, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(start: StartFolder, environment: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(engine_warmup, "start_build", fail)
    assert not override.engine.build_again()  # nothing was built before
    monkeypatch.setattr(override.engine, "_built", StartFolder.create(override.engine.store))
    assert not override.engine.build_again() and "no more processes" in caplog.text
    assert override.engine.is_loaded and not override.engine.can_build_again


class Unfriendly:
    """An argument that nothing can be done with."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")


@pytest.mark.parametrize("args", [(), (Unfriendly(),), (None,) * 12, (Unfriendly(),) * 5])
@pytest.mark.parametrize("kwargs", [{}, {"server_args": Unfriendly(), "gpu_id": None, "m": "x"}])
def test_no_hook_minds_its_arguments(
    override: SglangOverride, monkeypatch: pytest.MonkeyPatch, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Too few, too many, and wrong ones: the engine's own function runs with all of them, or nothing happens."""
    monkeypatch.delenv(VARIABLE, raising=False)
    seen: list[int] = []

    def own_path(*own_args: Any, **own_kwargs: Any) -> str:
        seen.append(len(own_args) + len(own_kwargs))
        return "own"

    assert override.compile_one_type(own_path, *args, **kwargs) == "own"
    assert seen == [len(args) + len(kwargs)]
    override.configured(None, *args, **kwargs)
    launching.launching(None, *args, **kwargs)
    launching.warming_up(*args, **kwargs)
    launching.ready(None, *args, **kwargs)
    monkeypatch.setattr(override, "_own_hook", own_path)
    assert override._hook(*args, **kwargs) == "own"


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
