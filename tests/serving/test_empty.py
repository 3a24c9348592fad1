"""Empty inputs: what a kernel type declares about DeepGEMM is what DeepGEMM does; sealed and plain calls obey it."""

from __future__ import annotations

from pathlib import Path

from on_stub import answer

#: The real call at m = 0 for every kernel type: DeepGEMM's own function, the plain call, the sealed call.
SCRIPT = """
from kregistry.kernel_type.sealed_call import sealed_call
from kregistry.stub.recorder import Recorder
recorder = Recorder()
target = kregistry.get_target("h100")
registry = kregistry.Registry()
SHAPES = {
    "fp8_gemm_nt": {"n": 512, "k": 1024},
    "m_grouped_fp8_gemm_nt_contiguous": {"num_groups": 2, "n": 512, "k": 1024},
    "m_grouped_fp8_gemm_nt_masked": {"num_groups": 2, "n": 512, "k": 1024},
    "tf32_hc_prenorm_gemm": {"n": 24, "k": 1024, "num_splits": 4},
}
def outcome(function, call):
    recorder.reset(); recorder.mark()
    try:
        result = function(*call.args, **call.kwargs)
    except Exception as error:
        return "refused"
    recorder.mark()
    return "launched" if recorder.launches()[0] else "returned"
raw, plain = {}, {}
for name, shape in SHAPES.items():
    kernel_type = registry[name]
    buffers = kernel_type.allocate_buffers(kernel_type.resolve(shape, target), 128)
    call = kernel_type.arguments(buffers, 0)
    own = kernel_type.function()
    raw[name] = [outcome(own, call), sealed_call(kernel_type, deep_gemm.__version__) is own]
    plain[name] = outcome(kernel_type, call)
kregistry.Dispatch(registry).seal()
sealed = {}
for name, shape in SHAPES.items():
    kernel_type = registry[name]
    buffers = kernel_type.allocate_buffers(kernel_type.resolve(shape, target), 128)
    sealed[name] = outcome(kernel_type, kernel_type.arguments(buffers, 0))
answer(raw=raw, plain=plain, sealed=sealed)
"""


def test_every_kernel_type_returns_without_a_launch(tmp_path: Path) -> None:
    got = answer(SCRIPT, tmp_path)
    names = ["fp8_gemm_nt", "m_grouped_fp8_gemm_nt_contiguous", "m_grouped_fp8_gemm_nt_masked", "tf32_hc_prenorm_gemm"]
    assert got["plain"] == got["sealed"] == dict.fromkeys(names, "returned")
    assert got["raw"] == {
        names[0]: ["returned", True],
        names[1]: ["returned", True],
        names[2]: ["refused", False],
        names[3]: ["refused", False],
    }
