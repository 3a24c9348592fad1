"""Real servers of SGLang and vLLM, with all their processes, on the stub GPU: started, asked over HTTP, and ended.

By benchmarks/real_server.py, which does the same on a GPU. A server imports more than an engine; .ci/engines installs
that too.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from compilers import slow_toolkit
from engine_on_stub import need
from on_stub import environment

from kregistry.toolchain import Toolchain

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parents[2]
#: What the stand-ins of tests/support/ENGINE_on_stub need, and no more memory than there is.
ARGUMENTS = {
    "sglang": [
        *("--disable-cuda-graph", "--disable-overlap-schedule", "--disable-flashinfer-autotune"),
        *("--disable-custom-all-reduce",),
    ],
    "vllm": ["--no-async-scheduling"],
}
#: What only the servers import.
PACKAGES = {"sglang": "soundfile", "vllm": "model_hosting_container_standards"}


@pytest.fixture(params=[name for name, package in PACKAGES.items() if importlib.util.find_spec(package)])
def starts(request: pytest.FixtureRequest, tmp_path: Path, toolchain: Toolchain, cubin: bytes) -> list[dict[str, Any]]:
    """The results of a cold and a warm start."""
    engine: str = request.param
    need(engine)
    compiler = slow_toolkit(tmp_path / "cuda", toolchain, cubin, 0) / "bin" / "nvcc"
    variables = environment(
        tmp_path,
        "h200",
        XDG_CACHE_HOME=str(tmp_path / "xdg"),
        KREGISTRY_NVCC=str(compiler),
        KREGISTRY_STUB_COUNT_MEMORY="1",
        FLASHINFER_USE_CUDA_NORM="1",
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
    )
    variables["PYTHONPATH"] = f"{ROOT / 'tests' / 'support' / f'{engine}_on_stub'}:{variables['PYTHONPATH']}"
    command = [sys.executable, str(ROOT / "benchmarks" / "real_server.py"), "run", "--work", str(tmp_path / "work")]
    command += ["--engine", engine, "--layers", "2", "--arms", "kregistry:cold,kregistry:warm", "--bursts", "0"]
    command += ["--longest", "300", "--limit", "400", "--until", "800", "--", *ARGUMENTS[engine]]
    done = subprocess.run(
        command,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=880,
    )
    results = tmp_path / "work" / "results.jsonl"
    assert results.exists(), done.stdout[-6000:]
    return [json.loads(line) for line in results.read_text().splitlines()]


def test_a_server_is_ready_with_all_kernels_and_compiles_nothing_when_it_is_asked(starts: list[dict[str, Any]]) -> None:
    assert [each["arm"] for each in starts] == ["kregistry:cold", "kregistry:warm"]
    for each in starts:
        assert each["ready_s"] is not None and "error" not in each, each.get("last_words")
        assert each["compiled_live"] == 0 and each["tracebacks"] == 0
        assert each["start"]["state"] == "done" and each["start"]["left_out"] == []
        assert each["kernels_at_ready"] == each["start"]["kernels"] > 0
        assert [prompt["tokens"] for prompt in each["prompts"]][-1] == 300
    cold, warm = starts
    assert (
        cold["start"]["built"] == cold["start"]["kernels"] == warm["start"]["kernels"] and warm["start"]["built"] == 0
    )
