"""Every hook, called as it is documented."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve
from events import EVENTS, EventLog
from sample_kernel_types import Sample
from shapes import entry_of

from kregistry import Dispatch, KernelType, Registry, hookimpl
from kregistry.compile import BuildReport, CompiledKernel, FailedKernel
from kregistry.compile.build_record import BuildRecord
from kregistry.compile.pipeline import Pipeline
from kregistry.compile.shared.sharing_options import SharingOptions
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.kernel import Kernel
from kregistry.plan import PlannedEntry
from kregistry.store import Store
from kregistry.toolchain import Toolchain
from kregistry.warm_up import Warmed, WarmedKernel
from kregistry.warm_up.launcher import Launcher, LaunchPoint


def heard(log: EventLog, name: str) -> list[dict[str, Any]]:
    return [arguments for hook, arguments in log.calls if hook == name]


#: Hooks that are heard, or offered, by the tests of the part that they belong to.
ELSEWHERE = {
    "kregistry_front_end_started": "compile/shared/test_sharing.py",
    "kregistry_front_end_finished": "compile/shared/test_sharing.py",
    "kregistry_front_end_not_shared": "compile/shared/test_sharing.py",
    "kregistry_front_end_compared": "compile/shared/test_sharing.py",
    "kregistry_executor": "compile/test_executors.py",
    "kregistry_unseen_call": "serving/test_dispatch.py",
    "kregistry_jit_compiled": "jit_monitor/test_monitor.py",
    "kregistry_jit_loaded": "jit_monitor/test_monitor.py",
}


def test_every_hook_has_a_test() -> None:
    tests = {name.removeprefix("test_") for name in vars(sys.modules[__name__]) if name.startswith("test_kregistry_")}
    assert tests | set(ELSEWHERE) == {"kregistry_kernel_types", "kregistry_executor", *EVENTS}
    for name, file in ELSEWHERE.items():
        text = (Path(__file__).parent / file).read_text()
        assert f"def {name}(" in text or f'"{name}"' in text, name


def test_every_hook_is_documented() -> None:
    from kregistry import hookspecs

    for name in ("kregistry_kernel_types", "kregistry_executor", *EVENTS):
        assert inspect.getdoc(getattr(hookspecs, name)), name


def test_the_order_of_all_hooks_in_a_build(tiny_build: BuildReport, event_log: EventLog) -> None:
    """Compiling starts while the plan goes on, so the end of the entry may come anywhere after its kernel."""
    names = event_log.names()
    entry = names.index("kregistry_entry_planned")
    assert entry > names.index("kregistry_kernel_planned")
    assert [name for name in names if name != "kregistry_entry_planned"] == [
        "kregistry_plan_started",
        "kregistry_kernel_planned",
        "kregistry_compile_started",
        "kregistry_kernel_compiled",
    ]
    assert names.count("kregistry_entry_planned") == 1


def test_kregistry_kernel_types() -> None:
    class Plugin:
        @hookimpl
        def kregistry_kernel_types(self) -> Iterable[KernelType]:
            yield Sample()

    registry = Registry(load_entry_points=False)
    registry.register(Plugin())
    assert registry.names() == ("sample",)


def test_kregistry_plan_started(tiny_build: BuildReport, event_log: EventLog) -> None:
    assert heard(event_log, "kregistry_plan_started") == [{"entries": 1, "target": "h100"}]


def test_kregistry_kernel_planned(tiny_build: BuildReport, event_log: EventLog, kernel: Kernel) -> None:
    assert heard(event_log, "kregistry_kernel_planned") == [{"kernel": kernel}]


def test_kregistry_entry_planned(tiny_build: BuildReport, event_log: EventLog) -> None:
    (arguments,) = heard(event_log, "kregistry_entry_planned")
    assert isinstance(arguments["entry"], PlannedEntry)
    assert arguments["entry"] == tiny_build.plan.entries[0]


def test_kregistry_compile_started(tiny_build: BuildReport, event_log: EventLog, kernel: Kernel) -> None:
    assert heard(event_log, "kregistry_compile_started") == [{"kernel": kernel}]


def test_kregistry_kernel_compiled(tiny_build: BuildReport, event_log: EventLog, kernel: Kernel) -> None:
    (arguments,) = heard(event_log, "kregistry_kernel_compiled")
    assert arguments["kernel"] is kernel
    assert isinstance(arguments["compiled"], CompiledKernel)
    assert (arguments["compiled"],) == tiny_build.compiled


@pytest.fixture
def listening() -> tuple[Registry, EventLog]:
    registry, log = Registry(load_entry_points=False), EventLog()
    registry.listen(log)
    return registry, log


def test_kregistry_kernel_found(
    listening: tuple[Registry, EventLog], session_store: Store, kernel: Kernel, toolchain: Toolchain, tmp_path: Path
) -> None:
    registry, log = listening
    with Pipeline(registry.events, session_store, JitCache(tmp_path / "jit"), toolchain.cuda.nvcc, 1) as pipeline:
        pipeline.add(kernel)
        pipeline.finish()
    registry.events.flush()
    assert log.calls == [("kregistry_kernel_found", {"kernel": kernel})]


def test_kregistry_kernel_failed(
    listening: tuple[Registry, EventLog], store: Store, kernel: Kernel, tmp_path: Path
) -> None:
    registry, log = listening
    compiler = tmp_path / "nvcc"
    compiler.write_text("#!/bin/sh\necho 'error: too many registers'\nexit 1\n")
    compiler.chmod(0o755)
    broken = evolve(kernel, key="0" * 64)
    options = SharingOptions(shared=False)
    with Pipeline(registry.events, store, JitCache(tmp_path / "jit"), compiler, 1, options) as pipeline:
        pipeline.add(broken)
        pipeline.finish()
    registry.events.flush()
    assert log.names() == ["kregistry_compile_started", "kregistry_kernel_failed"]
    (arguments,) = heard(log, "kregistry_kernel_failed")
    failed = arguments["failed"]
    assert isinstance(failed, FailedKernel)
    assert (failed.kernel, failed.output) == (broken, "error: too many registers")


def test_kregistry_warmup_started(warm_run: dict[str, Any]) -> None:
    assert warm_run["events"][0] == ["kregistry_warmup_started", {"launches": "1"}]


def test_kregistry_warmup_finished(warm_run: dict[str, Any]) -> None:
    name, arguments = warm_run["events"][-1]
    assert (name, set(arguments)) == ("kregistry_warmup_finished", {"manifest", "report"})


def test_kregistry_sealed(listening: tuple[Registry, EventLog], monkeypatch: pytest.MonkeyPatch) -> None:
    class Plugin:
        @hookimpl
        def kregistry_kernel_types(self) -> Iterable[KernelType]:
            yield Sample()

    registry, log = listening
    registry.register(Plugin())
    deep_gemm = SimpleNamespace(__version__="9.9", sample_function=lambda *args: None)
    monkeypatch.setitem(sys.modules, "deep_gemm", deep_gemm)
    Dispatch(registry).seal()
    registry.events.flush()
    assert log.calls == [("kregistry_sealed", {"kernel_types": ("sample",)})]


@pytest.mark.stub
def test_kregistry_kernel_warmed(listening: tuple[Registry, EventLog]) -> None:
    class Plugin:
        @hookimpl
        def kregistry_kernel_types(self) -> Iterable[KernelType]:
            yield Sample()

    registry, log = listening
    registry.register(Plugin())
    launcher = Launcher(registry, 10, {})
    list(launcher.run([LaunchPoint(entry_of(Sample(), n=8), 4, ("k",))]))
    registry.events.flush()
    ((name, arguments),) = log.calls
    assert name == "kregistry_kernel_warmed"
    warmed = arguments["warmed"]
    assert isinstance(warmed, WarmedKernel)
    assert (warmed.m, warmed.kernels, warmed.outcome) == (4, ("k",), Warmed.LEFT)
    assert json.dumps(warmed.text)


def test_kregistry_task_started(tiny_build: BuildReport, event_log: EventLog) -> None:
    started = [arguments["task"] for arguments in heard(event_log, "kregistry_task_started")]
    assert {"start", "plan"} <= {task.stage for task in started}
    assert all(task.seconds is None for task in started)


def test_kregistry_task_finished(tiny_build: BuildReport, event_log: EventLog) -> None:
    """Each task once, as it was started."""
    started = [arguments["task"] for arguments in heard(event_log, "kregistry_task_started")]
    finished = [evolve(arguments["task"], seconds=None) for arguments in heard(event_log, "kregistry_task_finished")]
    assert sorted(map(repr, finished)) == sorted(map(repr, started))


def test_kregistry_kernel_awaited(listening: tuple[Registry, EventLog], kernel: Kernel) -> None:
    registry, log = listening
    BuildRecord(registry.events.hook).kernel_awaited(kernel, "process 12 on node-3")
    registry.events.flush()
    assert log.calls == [("kregistry_kernel_awaited", {"kernel": kernel, "owner": "process 12 on node-3"})]
