"""What kregistry's plugins import in an engine's main thread: as little as they need there."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Parts that a thread imports while weights load, or that only a start with something to build needs.
LATER = (
    "kregistry.compile",
    "kregistry.hf_config.families",
    "kregistry.hf_config.resolve",
    "kregistry.jit_monitor",
    "kregistry.plan",
    "kregistry.rehearsal",
    "kregistry.stub",
    "kregistry.warm_up",
    "torch",
    "deep_gemm",
)


def imported(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_a_process_that_runs_no_model_imports_next_to_nothing(engine: str) -> None:
    found = imported(f"import kregistry.integrations.{engine}, kregistry.integrations.switches")
    assert not found & {*LATER, "kregistry.registry", "kregistry.kernel_type", "kregistry.manifest", "attrs"}


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_switched_off_an_engine_imports_the_entry_point_and_the_switches(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KREGISTRY", "0")
    place = "kregistry.integrations"
    found = {name for name in imported(f"import {place}.{engine} as e; e.register()") if name.startswith("kregistry")}
    assert found - {"kregistry", place} == {f"{place}.{engine}", f"{place}.switches"}


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_hooks_are_made_without_what_is_needed_later(engine: str) -> None:
    found = imported(f"import kregistry.integrations.{engine}.warmup_override")
    assert not found & set(LATER)
