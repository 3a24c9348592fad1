"""vLLM's real modules, unedited, on the stub GPU: what kregistry's plugin takes over, and what stays vLLM's."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_on_stub import need, run

pytestmark = pytest.mark.engines


@pytest.fixture(autouse=True)
def vllm() -> None:
    need("vllm")


#: As a worker does: plugins are loaded, then the warm-up modules are imported, then the model is warmed up.
START = """
import torch
from vllm.plugins import load_general_plugins
load_general_plugins()
import vllm.model_executor.warmup.deep_gemm_warmup as own
from vllm.model_executor.warmup import kernel_warmup
from vllm.model_executor.kernels.linear.scaled_mm.deep_gemm import DeepGemmFp8BlockScaledMMKernel
import vllm.utils.deep_gemm as wrappers

class Layer(torch.nn.Module):
    def __init__(self, n, k):
        super().__init__()
        self.weight = torch.nn.Parameter(
            torch.empty(n, k, dtype=torch.float8_e4m3fn, device="cuda"), requires_grad=False
        )
        self.weight_scale_inv = torch.nn.Parameter(
            torch.ones(n // 128, k // 128, device="cuda"), requires_grad=False
        )
        self.weight_block_size = wrappers.get_mk_alignment_for_contiguous_layout()
        self.deep_gemm_warmup_provider = DeepGemmFp8BlockScaledMMKernel.__new__(DeepGemmFp8BlockScaledMMKernel)

DeepGemmFp8BlockScaledMMKernel.get_deep_gemm_warmup_weights = lambda self, layer: (layer.weight, layer.weight_scale_inv)
own.is_global_first_rank = lambda: True
model = torch.nn.Sequential(Layer(512, 1024), Layer(512, 1024))
kernel_warmup.deep_gemm_warmup(model, 64)

def call(m):
    weight = model[0]
    a = torch.empty(m, 1024, dtype=torch.float8_e4m3fn, device="cuda"), torch.ones(m, 8, device="cuda")
    out = torch.empty(m, 512, dtype=torch.bfloat16, device="cuda")
    wrappers.fp8_gemm_nt(a, (weight.weight, weight.weight_scale_inv), out)
"""

SERVE = """
import deep_gemm
first = kernels()
for m in range(1, 65):
    call(m)
answer(
    first=first, kernels=kernels(), real=real_cubins(), deep_gemm=deep_gemm.__file__,
    taken=[module.deep_gemm_warmup.__module__ for module in (own, kernel_warmup)],
)
"""


def test_the_warm_up_ends_in_our_build_and_the_second_run_compiles_nothing(tmp_path: Path) -> None:
    first = run(START + SERVE, tmp_path)
    assert first["taken"] == ["kregistry.integrations.vllm.warmup_override"] * 2
    assert first["first"] == first["kernels"] and len(first["kernels"]) >= 2
    assert first["real"] == len(first["kernels"])  # the real nvcc made all of them; DeepGEMM's stand-in none
    second = run(START + SERVE, tmp_path)
    assert second["real"] == len(second["kernels"]) == len(first["kernels"])
    assert "0 built" in second["text"] and "DeepGEMM warmup:" not in first["text"] + second["text"]


@pytest.mark.parametrize("fault", ["off", "no store"])
def test_off_or_failing_vllms_own_path_runs(tmp_path: Path, fault: str) -> None:
    (tmp_path / "file").touch()
    extra = {"off": {"KREGISTRY_VLLM": "0"}, "no store": {"KREGISTRY_STORE": str(tmp_path / "file")}}
    # Its list of every m: the shorter one asks NVML for the number of SMs, which the stub GPU has not got.
    got = run(START + SERVE, tmp_path, VLLM_DEEP_GEMM_WARMUP="full", **extra[fault])
    assert got["first"] == got["kernels"] != [] and got["real"] == 0
    assert "DeepGEMM warmup:" in got["text"]
    said = "kregistry cannot warm up DeepGEMM: vLLM's own path runs"
    assert (said in got["text"]) == (fault == "no store")
    assert (got["taken"][1] == own_module()) == (fault == "off")


def own_module() -> str:
    return "vllm.model_executor.warmup.deep_gemm_warmup"


def test_the_copy_in_vllms_wheel_is_planned_and_used(tmp_path: Path) -> None:
    """Without an installed deep_gemm, vLLM and the planning processes use the same vendored copy."""
    hide = """
import importlib.machinery
_find = importlib.machinery.PathFinder.find_spec.__func__
@classmethod
def _hidden(cls, name, path=None, target=None):
    if name == "deep_gemm" and path is None:
        path = [entry for entry in sys.path if entry.endswith("third_party")]
    return _find(cls, name, path, target)
importlib.machinery.PathFinder.find_spec = _hidden
"""
    (tmp_path / "sitecustomize.py").write_text("import sys\n" + hide)
    path = f"{Path(__file__).resolve().parents[2]}:{tmp_path}"
    got = run(START + SERVE, tmp_path, PYTHONPATH=path)
    assert "vllm/third_party/deep_gemm" in got["deep_gemm"]
    assert got["first"] == got["kernels"] and got["real"] == len(got["kernels"]) >= 2


@pytest.mark.parametrize("warmup", ["relax", "skip"])
def test_what_vllm_does_not_warm_is_warmed_at_its_first_call(tmp_path: Path, warmup: str) -> None:
    got = run(
        START
        + """
import deep_gemm
before = kernels()
watched = hasattr(wrappers._tf32_hc_prenorm_gemm_impl, "__wrapped__")
def hc(m, splits, k=1024):
    x = torch.empty(m, k, dtype=torch.bfloat16, device="cuda")
    out, s = torch.empty(splits, m, 24, device="cuda"), torch.empty(splits, m, device="cuda")
    wrappers.tf32_hc_prenorm_gemm(x, torch.empty(24, k, device="cuda"), out, s, splits)
hc(3, 4)
first = kernels()
hc(60, 4)
answer(before=before, first=first, kernels=kernels(), real=real_cubins(),
       free=not hasattr(wrappers._tf32_hc_prenorm_gemm_impl, "__wrapped__"), watched=watched)
""",
        tmp_path,
        VLLM_DEEP_GEMM_WARMUP=warmup,
    )
    assert len(got["first"]) == len(got["kernels"]) == len(got["before"]) + 1 and got["watched"]
    assert got["real"] == len(got["kernels"]) - (warmup == "skip")  # DeepGEMM's stand-in compiled that one
    assert got["free"] == (warmup == "skip")


def test_a_compile_while_serving_reaches_vllms_monitor(tmp_path: Path) -> None:
    got = run(
        START
        + """
from vllm.utils import jit_monitor
jit_monitor._active = True
told = []
jit_monitor.logger = type("Log", (), {"warning_once": lambda self, text, *rest: told.append(text % rest)})()
call(64)
quiet = list(told)
call(4096)
import time
deadline = time.monotonic() + 200
while not told and time.monotonic() < deadline:
    time.sleep(0.01)
answer(quiet=quiet, told=told)
""",
        tmp_path,
        KREGISTRY_JIT_MONITOR="count",
        VLLM_DEEP_GEMM_WARMUP="skip",  # or the first call at 4096 would be warmed
    )
    assert got["quiet"] == []
    assert "DeepGEMM kernel JIT compilation during inference: sm90_fp8_gemm" in got["told"][0]
