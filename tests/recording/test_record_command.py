"""kregistry record on real scripts, and the way from its manifest to a run that compiles nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from on_stub import PRELUDE, environment

#: An engine's program: DeepGEMM's functions bound by name, two processes, one of them killed.
ENGINE = (
    PRELUDE
    + """
import multiprocessing, signal
from deep_gemm import tf32_hc_prenorm_gemm

def worker():
    for m in (1, 3, 64, 700):
        args, kwargs = fp8(m)
        deep_gemm.fp8_gemm_nt(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    for m in (2, 5):
        args, kwargs = hc(m, 4)
        tf32_hc_prenorm_gemm(*args, **kwargs)
    args, kwargs = hc(0)
    tf32_hc_prenorm_gemm(*args, **kwargs)
    registry = kregistry.Registry()
    kind = registry["m_grouped_fp8_gemm_nt_masked"]
    shape = kind.resolve({"num_groups": 2, "n": 512, "k": 1024}, kregistry.get_target("h100"))
    kind(*kind.arguments(kind.allocate_buffers(shape, 64), 33).args)
    try:
        deep_gemm.fp8_gemm_nt(1, 2, 3)
    except Exception:
        print("the engine's own error stays")
    process = multiprocessing.get_context("spawn").Process(target=worker)
    process.start()
    process.join()
"""
)


def kregistry(home: Path, *arguments: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "kregistry", *map(str, arguments)],
        env=environment(home, **extra),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_record_covers_every_process_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text(ENGINE)
    (tmp_path / "sitecustomize.py").write_text("print('the other sitecustomize ran')\n")
    output = tmp_path / "kernels.yaml"
    command = ("record", "-o", output, "--model", "mine", "--", sys.executable, "-W", "ignore", tmp_path / "engine.py")
    done = kregistry(tmp_path, *command, PYTHONPATH=environment(tmp_path)["PYTHONPATH"] + f":{tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "the engine's own error stays" in done.stdout and "the other sitecustomize ran" in done.stdout
    content: Any = yaml.safe_load(output.read_text())
    assert content == {
        "version": 1,
        "target": "h100",
        "models": {
            "mine": {
                "kernels": [
                    {
                        "type": "fp8_gemm_nt",
                        "shape": {"n": 512, "k": 1024, "scales": "f32"},
                        "m": {"start": 1, "stop": 700},
                    },
                    {
                        "type": "m_grouped_fp8_gemm_nt_masked",
                        "shape": {"num_groups": 2, "n": 512, "k": 1024, "scales": "f32"},
                        "expected_m": {"start": 33, "stop": 33},
                    },
                    {
                        "type": "tf32_hc_prenorm_gemm",
                        "shape": {"n": 24, "k": 1024, "num_splits": 4},
                        "m": {"start": 2, "stop": 5},
                    },
                ]
            }
        },
    }
    assert "not recorded: fp8_gemm_nt: no kernel type knows the call: fp8_gemm_nt: " in done.stderr
    assert "; fp8_gemm_nt_block32: " in done.stderr
    assert "3 call sites with 7 run-time values in 2 processes: 3 entries" in done.stderr
    assert kregistry(tmp_path, "check", output).returncode == 0


def test_record_of_nothing_and_of_a_failure(tmp_path: Path) -> None:
    nothing = kregistry(tmp_path, "record", "--", sys.executable, "-c", "pass")
    assert nothing.returncode == 2 and "the command made no DeepGEMM call (exit code 0)" in nothing.stderr
    absent = kregistry(tmp_path, "record", "--", "no-such-program")
    assert absent.returncode == 2 and "cannot run no-such-program: No such file" in absent.stderr
    (tmp_path / "fails.py").write_text(PRELUDE + "a, k = hc(3)\ndeep_gemm.tf32_hc_prenorm_gemm(*a, **k)\nsys.exit(7)\n")
    failed = kregistry(tmp_path, "record", "-o", "-", "--", sys.executable, "-W", "ignore", tmp_path / "fails.py")
    assert failed.returncode == 1 and "the command ended with exit code 7" in failed.stderr
    assert yaml.safe_load(failed.stdout)["models"]["recorded"]["kernels"] == [
        {
            "type": "tf32_hc_prenorm_gemm",
            "shape": {"n": 24, "k": 1024, "num_splits": "none"},
            "m": {"start": 3, "stop": 3},
        }
    ]


def test_monitor_log_becomes_entries(tmp_path: Path) -> None:
    (tmp_path / "serve.py").write_text(
        """
import os
import kregistry
from kregistry.jit_monitor import JitMonitor
monitor = JitMonitor(kregistry.Registry(), "count", log=os.environ["HOME"] + "/jit.jsonl").start()
"""
        + PRELUDE
        + """
for m, splits in ((3, 2), (9, 2), (4, 5)):
    args, kwargs = hc(m, splits)
    deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
monitor.stop()
"""
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(tmp_path / "serve.py")], env=environment(tmp_path), capture_output=True
    )
    assert ran.returncode == 0, ran.stderr
    done = kregistry(tmp_path, "monitor", tmp_path / "jit.jsonl", "--model", "more")
    assert done.returncode == 0, done.stderr
    shape = {"n": 24, "k": 1024}
    assert yaml.safe_load(done.stdout) == {
        "version": 1,
        "target": "h100",
        "models": {
            "more": {
                "kernels": [
                    {"type": "tf32_hc_prenorm_gemm", "shape": {**shape, "num_splits": 2}, "m": {"start": 3, "stop": 3}},
                    {"type": "tf32_hc_prenorm_gemm", "shape": {**shape, "num_splits": 5}, "m": {"start": 4, "stop": 4}},
                ]
            }
        },
    }
    assert done.stderr.count("DeepGEMM JIT: sm90_tf32_hc_prenorm_gemm compiled") == 2
    (tmp_path / "bad.jsonl").write_text("{}\n")
    bad = kregistry(tmp_path, "monitor", tmp_path / "bad.jsonl")
    assert bad.returncode == 2 and "bad.jsonl:1: expected an event of a JIT monitor" in bad.stderr
