"""The monitor in front of the stub's compiler: what it sees, refuses and survives."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from on_stub import PRELUDE, answer

#: The monitor starts before deep_gemm is imported. Reports of a call have arrived when the monitor has stopped.
START = """
import json, os, sys, logging
import kregistry
from kregistry.jit_monitor import JitMonitor
registry = kregistry.Registry()
events, loads = [], []
class ReportSocket:
    @kregistry.hookimpl
    def kregistry_jit_compiled(self, event):
        events.append(event.to_json())
    @kregistry.hookimpl
    def kregistry_jit_loaded(self, cubin):
        loads.append(cubin)
registry.listen(ReportSocket())
monitor = JitMonitor(registry, os.environ["MODE"], log=os.environ["HOME"] + "/jit.jsonl").start()
"""


def watched(script: str, home: Path, mode: str) -> Mapping[str, Any]:
    return answer(script, home, prelude=START + PRELUDE, MODE=mode)


def line_of(home: Path, marker: str) -> int:
    lines = (home / "script.py").read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, start=1) if marker in line and "CALL" in line]
    return number


def test_warn_sees_kernel_template_call_and_site(tmp_path: Path) -> None:
    got = watched(
        """
        import io
        text = io.StringIO()
        logging.getLogger("kregistry.jit_monitor").addHandler(logging.StreamHandler(text))
        def engine_layer():
            args, kwargs = hc(5, 3)
            deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)  # CALL hc
        def masked_layer():
            kind = registry["m_grouped_fp8_gemm_nt_masked"]
            shape = kind.resolve({"num_groups": 2, "n": 512, "k": 1024}, kregistry.get_target("h100"))
            arguments = kind.arguments(kind.allocate_buffers(shape, 128), 100)
            kind(*arguments.args)  # CALL masked
        engine_layer()
        masked_layer()
        masked_layer()
        monitor.stop()
        lines = open(os.environ["HOME"] + "/jit.jsonl").read()
        answer(events=events, log=text.getvalue(), counts=dict(monitor.counts), lines=lines)
        """,
        tmp_path,
        "warn",
    )
    hc, *masked = sorted(got["events"], key=lambda event: event["time"])
    assert hc["kernel"] == "sm90_tf32_hc_prenorm_gemm" and hc["template"][:3] == ["24", "1024", "64"]
    assert (hc["kernel_type"], hc["shape"], hc["m"]) == (
        "tf32_hc_prenorm_gemm",
        {"n": 24, "k": 1024, "num_splits": 3},
        5,
    )
    assert hc["site"] == f"{tmp_path}/script.py:{line_of(tmp_path, 'hc')} in engine_layer"
    assert hc["stack"][1].endswith("in <module>")
    assert hc["outcome"] == "compiled" and hc["target"]["num_sms"] == 132
    gemm = next(event for event in masked if event["kernel"] == "sm90_fp8_gemm_1d2d")
    assert gemm["site"].endswith(f"script.py:{line_of(tmp_path, 'masked')} in masked_layer")
    shape = {"num_groups": 2, "n": 512, "k": 1024, "scales": "f32"}
    assert gemm["shape"] == shape and gemm["m"] == 100
    assert got["counts"] == {"compiled": len(got["events"])}
    assert [json.loads(line) for line in got["lines"].splitlines()] == got["events"]
    assert "DeepGEMM JIT: sm90_tf32_hc_prenorm_gemm compiled in " in got["log"]
    assert "for tf32_hc_prenorm_gemm n=24 k=1024 num_splits=3 at 5, called from" in got["log"]


def test_error_refuses_at_once_and_the_process_lives(tmp_path: Path) -> None:
    got = watched(
        """
        import time
        warmed, kwargs = hc(4, 1)
        monitor.mode = "count"
        deep_gemm.tf32_hc_prenorm_gemm(*warmed, **kwargs)
        monitor.mode = "error"
        failures, seconds = [], []
        for splits in range(2, 7):
            args, other = hc(4, splits)
            started = time.perf_counter()
            try:
                deep_gemm.tf32_hc_prenorm_gemm(*args, **other)  # CALL refused
            except Exception as error:
                failures.append(type(error).__name__)
            seconds.append(time.perf_counter() - started)
        deep_gemm.tf32_hc_prenorm_gemm(*warmed, **kwargs)
        monitor.mode = "warn"
        deep_gemm.tf32_hc_prenorm_gemm(*args, **other)
        monitor.stop()
        answer(events=events, failures=failures, counts=dict(monitor.counts))
        """,
        tmp_path,
        "error",
    )
    assert got["failures"] == ["RuntimeError"] * 5
    assert got["counts"] == {"compiled": 2, "refused": 5}
    refused = [event for event in got["events"] if event["outcome"] == "refused"]
    assert [event["shape"]["num_splits"] for event in refused] == [2, 3, 4, 5, 6]
    assert {event["site"] for event in refused} == {f"{tmp_path}/script.py:{line_of(tmp_path, 'refused')} in <module>"}


def test_no_false_alarm_and_no_report_in_mode_off(tmp_path: Path) -> None:
    got = watched(
        """
        args, kwargs = hc(4, 1)
        deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
        before = dict(monitor.counts)
        monitor.mode = "warn"
        for _ in range(20000):
            deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
        monitor.stop()
        args, kwargs = hc(4, 9)
        deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)  # after stop: straight to the compiler
        answer(before=before, counts=dict(monitor.counts), left=os.path.exists(monitor._home))
        """,
        tmp_path,
        "off",
    )
    assert got == {"before": {}, "counts": {}, "left": False}


def test_each_thread_gets_its_own_site(tmp_path: Path) -> None:
    got = watched(
        """
        import threading
        one_at_a_time = threading.Lock()  # DeepGEMM's first calls are not safe from two threads at once
        def one():
            args, kwargs = hc(4, 5)
            with one_at_a_time:
                deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
        def other():
            args, kwargs = fp8(4)
            with one_at_a_time:
                deep_gemm.fp8_gemm_nt(*args, **kwargs)
        hc(1)
        threads = [threading.Thread(target=each) for each in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        monitor.stop()
        answer(sites=sorted({(event["kernel"], event["site"].split()[-1]) for event in events}))
        """,
        tmp_path,
        "count",
    )
    assert got["sites"] == [
        ["sm90_fp8_gemm_1d2d", "other"],
        ["sm90_tf32_hc_prenorm_gemm", "one"],
        ["transpose_fp32", "other"],
    ]


CHILD = """
def work():
    args, kwargs = hc(4, 7)
    deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_are_seen(tmp_path: Path, method: str) -> None:
    """A fork has a monitor of its own, with stacks; a spawned process reports to its parent, without."""
    (tmp_path / "child_module.py").write_text(PRELUDE + CHILD)
    got = answer(
        f"""
        import multiprocessing
        sys.path.insert(0, os.environ["HOME"])
        def run_child():
            import child_module
            child_module.work()
        if __name__ == "__main__":
            child = multiprocessing.get_context({method!r}).Process(target=run_child)
            child.start()
            child.join()
            monitor.stop()
            lines = [json.loads(line) for line in open(os.environ["HOME"] + "/jit.jsonl")]
            print("ANSWER " + json.dumps({{"code": child.exitcode, "lines": lines, "child": child.pid}}))
        """,
        tmp_path,
        prelude=START.replace("monitor = ", "monitor = __name__ == '__main__' and "),
        MODE="count",
    )
    assert got["code"] == 0
    (event,) = got["lines"]  # type: ignore[misc]
    assert event["pid"] == got["child"] and event["kernel"] == "sm90_tf32_hc_prenorm_gemm"
    assert event["site"].endswith("in work") if method == "fork" else event["site"] == ""
    assert event["process"]


def test_the_monitor_must_come_first(tmp_path: Path) -> None:
    got = answer(
        """
        from kregistry.jit_monitor import JitMonitor
        try:
            JitMonitor(kregistry.Registry()).start()
        except kregistry.KregistryError as error:
            answer(error=str(error), variable="KREGISTRY_MONITOR" in os.environ)
        """,
        tmp_path,
    )
    assert got["error"] == (
        "deep_gemm is already imported, and may have chosen its compiler\n"
        "hint: start the monitor before deep_gemm is imported"
    )
    assert got["variable"] is False


def test_metrics(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client", reason="prometheus-client is an optional extra")
    got = watched(
        """
        import prometheus_client
        from kregistry.jit_monitor.metrics import PrometheusMetrics
        own = prometheus_client.CollectorRegistry()
        registry.listen(PrometheusMetrics(own))
        args, kwargs = hc(4, 2)
        deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
        monitor.stop()
        labels = {"kernel": "sm90_tf32_hc_prenorm_gemm", "outcome": "compiled"}
        answer(
            compiles=own.get_sample_value("kregistry_jit_compiles_total", labels),
            waited=own.get_sample_value("kregistry_jit_compile_seconds_total") > 0,
            loads=own.get_sample_value("kregistry_jit_loads_total"),
        )
        """,
        tmp_path,
        "count",
    )
    assert got == {"compiles": 1.0, "waited": True, "loads": 0.0}


def test_an_unknown_mode_is_refused() -> None:
    from kregistry import KregistryError, Registry
    from kregistry.jit_monitor import JitMonitor

    with pytest.raises(KregistryError, match="unknown mode 'eror'\nhint: did you mean 'error'"):
        JitMonitor(Registry(), "eror")
    assert "KREGISTRY_MONITOR" not in os.environ
