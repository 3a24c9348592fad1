"""SGLang's real modules, unedited, on the stub GPU: what kregistry's plugin takes over, and what stays SGLang's."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_on_stub import need, run

pytestmark = pytest.mark.engines


@pytest.fixture(autouse=True)
def sglang() -> None:
    need("sglang")


#: As a scheduler does: its imports have brought the wrapper in, then plugins are loaded, then the model runs.
START = """
import inspect
import deep_gemm
import torch
from sglang.srt.layers import deep_gemm_wrapper
from sglang.srt.layers.deep_gemm_wrapper import compile_utils, entrypoint
own = {  # in a dictionary: HookRegistry rebinds plain names in every module, this one included
    "compile": compile_utils._compile_deep_gemm_one_type_all,
    "hook": compile_utils.deep_gemm_execution_hook,
    "hc": deep_gemm.tf32_hc_prenorm_gemm,
}
from sglang.srt.plugins import load_plugins
load_plugins()
compile_utils._BUILTIN_M_LIST = list(range(1, 65))

class Settings:  # 0.5.16 passes the ServerArgs; 0.5.23 asks for its parts
    chunked_prefill_size = 64
    base_gpu_id = 0

def configure():
    compile_utils.get_schedule = compile_utils.get_device = Settings
    given = inspect.signature(entrypoint.update_deep_gemm_config).parameters
    deep_gemm_wrapper.update_deep_gemm_config(0, *[Settings() for _ in list(given)[1:]])

def fp8(m, n=512, k=1024):
    a = torch.empty(m, k, dtype=torch.float8_e4m3fn, device="cuda"), torch.empty(m, k // 128, device="cuda")
    b = torch.empty(n, k, dtype=torch.float8_e4m3fn, device="cuda"), torch.empty(n // 128, k // 128, device="cuda")
    out = torch.empty(m, n, dtype=torch.bfloat16, device="cuda")
    entrypoint.gemm_nt_f8f8bf16(a, b, out)

def hc(m, splits, k=1024):
    x = torch.empty(m, k, dtype=torch.bfloat16, device="cuda")
    out, s = torch.empty(splits, m, 24, device="cuda"), torch.empty(splits, m, device="cuda")
    from sglang.srt.layers.deep_gemm_wrapper.entrypoint import tf32_hc_prenorm_gemm
    tf32_hc_prenorm_gemm(x, torch.empty(24, k, device="cuda"), out, s, splits)
"""

DENSE = """
def context(m, n, k):
    kind = compile_utils.DeepGemmKernelType.GEMM_NT_F8F8BF16
    return type(compile_utils.deep_gemm_execution_hook(m, n, k, 1, kind)).__name__

fp8(7)
first = kernels()
for m in range(1, 65):
    fp8(m)
answer(
    kernels=kernels(), first=first, real=real_cubins(),
    taken=compile_utils._compile_deep_gemm_one_type_all is not own["compile"],
    hook=compile_utils.deep_gemm_execution_hook is not own["hook"],
    empty=context(1, 512, 1024),
    other=context(0, 8, 8),
)
"""


def test_the_warm_up_ends_in_our_build_and_the_second_run_compiles_nothing(tmp_path: Path) -> None:
    first = run(START + DENSE, tmp_path)
    assert first["taken"] and first["hook"]
    assert first["kernels"] == first["first"] and len(first["kernels"]) >= 2
    assert first["real"] == len(first["kernels"])  # the real nvcc made all of them; DeepGEMM's stand-in none
    assert first["empty"] == "nullcontext" and first["other"] == "_GeneratorContextManager"
    assert "2 built" in first["text"] or f"{len(first['kernels'])} built" in first["text"]
    second = run(START + DENSE, tmp_path)
    assert second["kernels"] == first["kernels"] and second["real"] == len(first["kernels"])
    assert "0 built" in second["text"]
    assert "DeepGEMM warmup" not in first["text"] + second["text"]  # SGLang's own loop over every m


def test_sglangs_own_path_is_what_the_plan_covers(tmp_path: Path) -> None:
    """Off: SGLang runs every m itself, and needs the kernels that kregistry plans."""
    (tmp_path / "on").mkdir()
    (tmp_path / "off").mkdir()
    on = run(START + DENSE, tmp_path / "on")
    off = run(START + DENSE, tmp_path / "off", KREGISTRY_SGLANG="0")
    assert not off["taken"] and not off["hook"] and off["real"] == 0
    assert "DeepGEMM warmup" in off["text"] and "kregistry is off (KREGISTRY_SGLANG)" in off["text"]
    assert on["kernels"] == off["kernels"]


@pytest.mark.parametrize("fault", ["no compiler", "no store"])
def test_a_failure_leaves_sglangs_own_path(tmp_path: Path, fault: str) -> None:
    (tmp_path / "file").touch()
    extra = {"no compiler": {"CUDA_HOME": str(tmp_path)}, "no store": {"KREGISTRY_STORE": str(tmp_path / "file")}}
    got = run(START + DENSE, tmp_path, **extra[fault])
    assert got["taken"] and not got["hook"]
    assert "kregistry cannot warm up GEMM_NT_F8F8BF16 n=512 k=1024: SGLang's own path runs" in got["text"]
    assert "DeepGEMM warmup" in got["text"]
    assert got["kernels"] and got["real"] == 0


def test_what_sglang_does_not_warm_is_warmed_at_its_first_call_and_then_free(tmp_path: Path) -> None:
    """``fp8_einsum`` and both ways to ``tf32_hc_prenorm_gemm``: SGLang's wrapper, and DeepGEMM's own name."""
    got = run(
        START
        + """
import kregistry
kind = kregistry.Registry()["fp8_einsum_bhr_hdr_bhd"]
shape = kind.resolve({"h": 4, "r": 512, "d": 256}, kregistry.get_target("h100"))
call = kind.arguments(kind.allocate_buffers(shape, 64), 5)

hc(0, 4)
nothing = kernels()
hc(3, 4)
hc(3, 1)
x, out, s = (torch.empty(*size, device="cuda") for size in ((9, 1024), (2, 9, 24), (2, 9)))
deep_gemm.tf32_hc_prenorm_gemm(x.bfloat16(), torch.empty(24, 1024, device="cuda"), out, s, num_splits=2)
deep_gemm.fp8_einsum(*call.args, **call.kwargs)
warmed = kernels()
watched = deep_gemm.tf32_hc_prenorm_gemm is not own["hc"]
for m in range(1, 65):
    hc(m, 4)
    deep_gemm.fp8_einsum(*call.args, **call.kwargs)
for _ in range(2000):
    hc(3, 4)
answer(nothing=nothing, warmed=warmed, kernels=kernels(), real=real_cubins(), watched=watched,
       free=deep_gemm.tf32_hc_prenorm_gemm is own["hc"])
""",
        tmp_path,
    )
    assert got["nothing"] == [] and got["watched"] and got["free"]
    assert got["real"] == len(got["warmed"]) == len(got["kernels"]) >= 5


def test_sglangs_switch_ends_the_watch(tmp_path: Path) -> None:
    got = run(
        START + "\nhc(3, 4)\nanswer(free=deep_gemm.tf32_hc_prenorm_gemm is own['hc'], real=real_cubins())\n",
        tmp_path,
        SGLANG_JIT_DEEPGEMM_PRECOMPILE="0",
    )
    assert got["free"] and got["real"] == 0


def test_the_manifest_is_built_when_sglang_is_configured_and_loaded_at_the_first_call(tmp_path: Path) -> None:
    (tmp_path / "kernels.yaml").write_text(
        "version: 1\nmodels:\n  m:\n    kernels:\n"
        "      - {type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 1024, num_splits: 3}, m: {stop: 8}}\n"
    )
    got = run(
        START
        + """
configure()
hc(3, 3)
first = kernels()
for m in range(1, 9):
    hc(m, 3)
answer(kernels=kernels(), first=first, real=real_cubins(), m=len(compile_utils._BUILTIN_M_LIST))
""",
        tmp_path,
        KREGISTRY_MANIFEST=str(tmp_path / "kernels.yaml"),
        KREGISTRY_MODEL="m",
    )
    assert got["real"] == len(got["kernels"]) == 1 and got["first"] == got["kernels"] and got["m"] == 16384
    assert "1 kernels of this model on disk, 1 built" in got["text"]
    assert "1 kernels of 1 call sites ready, 0 built" in got["text"]  # that build, not one of the call


def test_plugins_that_are_loaded_before_the_wrapper_get_their_hooks_later(tmp_path: Path) -> None:
    got = run(
        "from sglang.srt.plugins import load_plugins\nload_plugins()\n"
        + START
        + """
before = compile_utils._compile_deep_gemm_one_type_all is own["compile"]
configure()
compile_utils._BUILTIN_M_LIST = [1, 16]
fp8(7)
answer(before=before, real=real_cubins(), kernels=kernels(), hook=compile_utils.deep_gemm_execution_hook != own["hook"])
""",
        tmp_path,
        KREGISTRY_AUTO="0",
    )
    assert got["before"] and got["hook"] and got["real"] == len(got["kernels"]) > 0
    assert "SGLang loaded its plugins before its DeepGEMM wrapper" in got["text"]


def test_a_kernel_type_that_kregistry_does_not_have_stays_sglangs(tmp_path: Path) -> None:
    got = run(
        START
        + """
x, w = (torch.empty(size, 512, dtype=torch.bfloat16, device="cuda") for size in (8, 64))
compile_utils._BUILTIN_M_LIST = [8]
try:
    entrypoint.gemm_nt_bf16bf16f32(x, w, torch.empty(8, 64, device="cuda"))
except RuntimeError as error:  # this DeepGEMM calls cuBLAS here, which the stub GPU has not got
    assert "cublas" in str(error), error
answer(hook=compile_utils.deep_gemm_execution_hook is not own["hook"])
""",
        tmp_path,
    )
    assert not got["hook"]
    assert "kregistry has no kernel type for GEMM_NT_BF16BF16F32: SGLang warms it up" in got["text"]
    assert "DeepGEMM warmup" in got["text"]


def test_the_jit_monitor_runs_inside_sglang(tmp_path: Path) -> None:
    got = run(
        START + "\nhc(3, 3)\nanswer(kernels=kernels())\n",
        tmp_path,
        SGLANG_JIT_DEEPGEMM_PRECOMPILE="0",
        KREGISTRY_JIT_MONITOR="warn",
        KREGISTRY_JIT_LOG=str(tmp_path / "jit.jsonl"),
    )
    assert len(got["kernels"]) == 1
    (line,) = (tmp_path / "jit.jsonl").read_text().splitlines()
    assert '"num_splits": 3' in line and "entrypoint.py" in line
