"""Cases 4 and 5 of the environment: arguments and setters that change kernels are recorded, covered, or said."""

from __future__ import annotations

from pathlib import Path

import pytest
from on_stub import answer

pytestmark = pytest.mark.stub

#: A registry that covers fp8_gemm_nt n=512 k=1024 at every m up to 64, and a way to try calls.
COVERED = """
registry = kregistry.Registry()
dispatch = kregistry.Dispatch(registry)
manifest = {"version": 1, "target": "h100", "models": {"x": {"kernels": [
    {"type": "fp8_gemm_nt", "shape": {"n": 512, "k": 1024}, "m": {"stop": 64}}]}}}
Path(os.environ["HOME"], "k.yaml").write_text(json.dumps(manifest))
dispatch.cover(kregistry.load_manifest(Path(os.environ["HOME"], "k.yaml"), registry))
def attempt(name, *args, **kwargs):
    try:
        registry[name](*args, **kwargs)
        return "called"
    except kregistry.KregistryError as error:
        return error.message
(a, b, d), _ = fp8(8)
"""


@pytest.mark.parametrize(
    ("given", "kept"), [("nk", {"compiled_dims": "nk"}), ("kn", {"compiled_dims": "nk"}), ("mnk", None), ("", {})]
)
def test_case_4_compiled_dims_is_recorded_and_not_covered_by_another(
    tmp_path: Path, given: str, kept: dict[str, str] | None
) -> None:
    found = answer(
        "from pathlib import Path\n"
        + COVERED
        + f"""
dispatch.watch("error")
refused = attempt("fp8_gemm_nt", a, b, d, compiled_dims={given!r})
dispatch.watch("compile")
with dispatch.record() as recording:
    attempt("fp8_gemm_nt", a, b, d, compiled_dims={given!r})
(call,) = recording.calls()
answer(refused=refused, shape=dict(call.shape))
""",
        tmp_path,
    )
    kept = {"compiled_dims": given} if kept is None else kept
    assert found["shape"] == {"n": 512, "k": 1024, "scales": "f32", **kept}
    words = "".join(f" {name}={value}" for name, value in kept.items())
    wanted = f"unseen call: fp8_gemm_nt n=512 k=1024 scales=f32{words} at m 8" if kept else "called"
    assert found["refused"] == wanted


@pytest.mark.parametrize("policy", ["error", "warn", "compile"])
def test_a_call_that_no_kernel_type_knows_is_refused_or_said(tmp_path: Path, policy: str) -> None:
    found = answer(
        "from pathlib import Path\nimport logging\nlogging.basicConfig(stream=sys.stdout)\n"
        + COVERED
        + f"""
x = torch.empty(8, 64, dtype=torch.bfloat16, device="cuda")
out = torch.empty(8, 8, device="cuda")
dispatch.watch({policy!r})
with dispatch.record() as recording:
    said = [attempt("bf16_gemm_nt", x, x, out, c=out) for _ in range(2)]
answer(said=said, recorded=len(recording.calls()))
""",
        tmp_path,
    )
    unknown = "unknown call: bf16_gemm_nt at m 8: a call with c = a Tensor, which the kernel type does not read"
    assert found["said"] == ([unknown] * 2 if policy == "error" else ["called"] * 2)
    assert found["recorded"] == 0


def test_case_5_a_setter_without_a_getter_is_recorded(tmp_path: Path) -> None:
    """DeepGEMM 0.1 has neither of the two; there a call of one is the program's own error."""
    found = answer(
        "from pathlib import Path\n"
        + COVERED
        + """
dispatch.watch("error")
if not hasattr(deep_gemm, "set_block_size_multiple_of"):
    answer(old=True)
    raise SystemExit
before = attempt("fp8_gemm_nt", a, b, d)
deep_gemm.set_block_size_multiple_of((1, 64))
deep_gemm.set_ignore_compile_dims(True)
after = attempt("fp8_gemm_nt", a, b, d)
deep_gemm.set_block_size_multiple_of((1, 7))
odd = attempt("fp8_gemm_nt", a, b, d)
deep_gemm.set_block_size_multiple_of(1)
deep_gemm.set_ignore_compile_dims(False)
answer(old=False, before=before, after=after, odd=odd, again=attempt("fp8_gemm_nt", a, b, d))
""",
        tmp_path,
    )
    if found["old"]:
        return
    words = "block_size_multiple_of=1x64 ignore_compile_dims=True"
    assert found["after"] == f"unseen call: fp8_gemm_nt n=512 k=1024 scales=f32 {words} at m 8"
    assert str(found["odd"]).startswith("unknown call: fp8_gemm_nt at m 8: expected 1x1 or ")
    assert (found["before"], found["again"]) == ("called", "called")
