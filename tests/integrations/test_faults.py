"""A fault at each step of kregistry's code inside an engine: the engine runs on, and a log line says what failed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import faults_in_sglang
import faults_in_vllm
import pytest
from bad_machines import usable_machines
from compilers import slow_toolkit
from engine_on_stub import need
from on_stub import environment

from kregistry.toolchain import Toolchain

pytestmark = pytest.mark.engines

#: Faults that are met before a model is served, whatever else happens, and what the log says then.
SAID_IN_SGLANG = {
    "import of the hooks": "cannot register its hooks",
    "import of the switches": "cannot register its hooks",
    "import of the phases": "cannot register its hooks",
    "import of the launch": "cannot register its hooks",
    "kernel types": "cannot register its hooks",
    "hook registry": "cannot register its hooks",
    "watch": "cannot register its hooks",
    "names": "cannot register its hooks",
    "store": "builds nothing before the first call",
    "request": "builds nothing before the first call",
    "start folder": "builds nothing before the first call",
    "build process": "builds nothing before the first call",
    "reading the request": "builds nothing before the first call",
    "thread": "builds nothing before the first call",
    "wait": "what was built ahead cannot be read",
    "signature of a group": "cannot read what SGLang warms up: SGLang's own path runs",
    "signature of a call": "first calls are not watched any more",
    "coverage": "first calls are not watched any more",
    "device": "first calls are not watched any more",
}


#: The same for vLLM.
SAID_IN_VLLM = {
    "import of the hooks": "cannot register its hooks",
    "import of the switches": "cannot register its hooks",
    "import of the phases": "cannot register its hooks",
    "import of the monitor": "cannot register its hooks",
    "kernel types": "cannot register its hooks",
    "store": "cannot register its hooks",
    "watch": "hook for the import of deep_gemm failed",
    "names": "hook for the import of deep_gemm failed",
    "hook of the load": "hook for the import of vllm.model_executor.model_loader.base_loader failed",
    "hook of the worker": "hook for the import of vllm.v1.worker.gpu_worker failed",
    "DeepGEMM of vLLM": "builds nothing before the first call",
    "request": "builds nothing before the first call",
    "start folder": "builds nothing before the first call",
    "build process": "builds nothing before the first call",
    "thread": "builds nothing before the first call",
    "wait": "what was built ahead cannot be read",
    "loading what was built": "cannot load what calls outside the manifest have brought",
    "layers": "cannot warm up DeepGEMM: vLLM's own path runs",
    "entries": "cannot warm up DeepGEMM: vLLM's own path runs",
    "signature of a call": "first calls are not watched any more",
    "coverage": "first calls are not watched any more",
    "device": "first calls are not watched any more",
    "ready": "first calls are not watched any more",
}

#: What the log says on a machine, or with a setting, with which kregistry cannot do its work.
SAID_ON_BAD_MACHINES = {
    "store on a read-only disk": "store cannot be written: what this start finds out is not kept",
    "store on a full disk": "No space left on device",
    "store below a file": "/dev/null/store cannot be written: what this start finds out is not kept",
    "manifest that is not there": "is-not-there.yaml: No such file or directory",
    "broken manifest": "named.yaml:2:10: not valid YAML",
    "manifest of another GPU": "named.yaml:6:62: models.m.kernels[0].shape.scales: ue8m0 is refused on sm90",
    "broken plugin": "a plugin that could not be loaded may provide it: broken",
    "broken compiler": "the build ahead of the first call has failed: nvcc",
    "no home directory": "no-home-directory/store cannot be written: what this start finds out is not kept",
    "clock set back": "kregistry: building the kernels of",
}


def answers_of(
    engine: str, faults: Iterable[str], place: Path, toolchain: Toolchain, cubin: bytes
) -> Mapping[str, list[str]]:
    """Fault -> what the log of kregistry says; the engine has not failed in any of them."""
    need(engine)
    compiler = slow_toolkit(place / "cuda", toolchain, cubin, 0) / "bin" / "nvcc"
    (place / "models").mkdir()
    cache, script = str(place / "cache"), Path(__file__).parents[1] / "support" / f"faults_in_{engine}.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(place / "models"), *faults],
        env=environment(
            place,
            KREGISTRY_STORE=str(place / "store"),
            XDG_CACHE_HOME=str(place / "xdg"),
            SGLANG_DG_CACHE_DIR=cache,
            DG_JIT_CACHE_DIR=cache,
            KREGISTRY_NVCC=str(compiler),
        ),
        capture_output=True,
        text=True,
        timeout=880,
    )
    lines = [line.removeprefix("FAULT ") for line in done.stdout.splitlines() if line.startswith("FAULT ")]
    answers = {each["fault"]: each for each in map(json.loads, lines)}
    assert list(answers) == list(faults), done.stdout[-3000:] + done.stderr[-3000:]
    assert {name: each["error"] for name, each in answers.items() if "error" in each} == {}
    return {name: each["log"] for name, each in answers.items()}


def test_sglang_serves_with_any_fault(tmp_path: Path, toolchain: Toolchain, cubin: bytes) -> None:
    answers = answers_of("sglang", faults_in_sglang.FAULTS, tmp_path, toolchain, cubin)
    for name, text in SAID_IN_SGLANG.items():
        assert sum(text in line for line in answers[name]) == 1, (name, answers[name])


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_an_engine_serves_on_any_machine(engine: str, tmp_path: Path, toolchain: Toolchain, cubin: bytes) -> None:
    """The log says what is wrong, and nothing looks like a bug of kregistry."""
    answers = answers_of(engine, usable_machines(), tmp_path, toolchain, cubin)
    for name, lines in answers.items():
        assert any(SAID_ON_BAD_MACHINES[name] in line for line in lines), (name, lines)
        assert "Traceback" not in lines, (name, lines)


def test_vllm_serves_with_any_fault(tmp_path: Path, toolchain: Toolchain, cubin: bytes) -> None:
    answers = answers_of("vllm", faults_in_vllm.FAULTS, tmp_path, toolchain, cubin)
    for name, text in SAID_IN_VLLM.items():
        assert sum(text in line for line in answers[name]) == 1, (name, answers[name])
