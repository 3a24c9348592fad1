"""kregistry stub, and kregistry record --stub: programs for CUDA on a machine without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_line import Result

from kregistry.cli import stub_command

Run = Callable[..., Result]


KREGISTRY = (sys.executable, "-m", "kregistry")
PYTHON = (sys.executable, "-W", "ignore", "-c")
CALL = """
import os, torch, deep_gemm
a, b = torch.empty(9, 1024, dtype=torch.bfloat16, device="cuda"), torch.empty(24, 1024, device="cuda")
deep_gemm.tf32_hc_prenorm_gemm(a, b, torch.empty(9, 24, device="cuda"), torch.empty(9, device="cuda"))
print(torch.cuda.get_device_name(), torch.cuda.device_count(), os.environ["DG_JIT_CACHE_DIR"])
"""


def test_no_more_devices_are_offered_than_the_stub_has(kregistry: Run) -> None:
    header = (Path(stub_command.__file__).parent.parent / "stub" / "cuda" / "stub.h").read_text()
    limit = int(header.partition("#define MAX_DEVICES ")[2].split()[0])
    refused = kregistry("stub", "--target", "h200", "--devices", limit + 1, "--", "true")
    assert refused.code == 2 and f"1<=x<={limit}" in refused.err


def call(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KREGISTRY, *arguments], capture_output=True, text=True, env={**os.environ, **extra}, timeout=300
    )


@pytest.mark.stub
def test_a_program_sees_the_target_and_leaves_nothing_in_the_users_cache(tmp_path: Path) -> None:
    done = call("stub", "--target", "h200", "--devices", "2", "--", *PYTHON, CALL, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    name, count, cache = done.stdout.rsplit(maxsplit=2)
    assert (name, count) == ("NVIDIA H200", "2")
    assert not Path(cache).exists()
    assert not (tmp_path / ".deep_gemm").exists()


@pytest.mark.stub
def test_triton_finds_the_stub_as_the_driver() -> None:
    code = "from triton.backends.nvidia.driver import libcuda_dirs as d; import os; print(*map(os.listdir, d()))"
    done = call("stub", "--target", "h100", "--", *PYTHON, code)
    assert done.stdout.strip() == "['libcuda.so.1']", done.stderr


@pytest.mark.stub
def test_the_exit_code_is_that_of_the_command() -> None:
    assert call("stub", "-t", "h100", "--", "sh", "-c", "exit 7").returncode == 7
    assert call("stub", "-t", "h100", "--", "sh", "-c", "kill -9 $$").returncode == 137


@pytest.mark.stub
def test_the_host_that_touches_device_memory_is_told_so() -> None:
    script = "import ctypes, torch; ctypes.string_at(torch.empty(8, device='cuda').data_ptr(), 4)"
    done = call("stub", "-t", "h100", "--", *PYTHON, script)
    assert done.returncode == 139
    assert "stub: the host has touched device memory, which has no bytes on the stub GPU" in done.stderr


@pytest.mark.stub
def test_calls_are_recorded_on_the_stub(tmp_path: Path) -> None:
    output = tmp_path / "recorded.yaml"
    done = call("record", "--stub", "h20", "-o", str(output), "--", *PYTHON, CALL)
    assert done.returncode == 0, done.stderr
    manifest = yaml.safe_load(output.read_text())
    assert manifest["target"] == "h20"
    (entry,) = manifest["models"]["recorded"]["kernels"]
    assert (
        entry["type"] == "tf32_hc_prenorm_gemm"
        and entry["shape"]["k"] == 1024
        and entry["m"] == {"stop": 9} | entry["m"]
    )


@pytest.mark.parametrize("command", [("stub", "--target"), ("record", "--stub")])
def test_an_unknown_target_is_named(kregistry: Run, command: tuple[str, str]) -> None:
    result = kregistry(*command, "h1000", "--", "true")
    assert result.code == 2
    assert "unknown target 'h1000'" in result.err


@pytest.mark.stub
def test_a_command_that_cannot_be_started() -> None:
    done = call("stub", "-t", "h100", "--", "/no/such/command")
    assert done.returncode == 2
    assert done.stderr == "error: cannot run /no/such/command: No such file or directory\n"
