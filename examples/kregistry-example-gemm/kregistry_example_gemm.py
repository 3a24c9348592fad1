"""The kernel type `example_gemm`: d[m, n] = a[m, k] @ b[n, k].T in BF16."""

from kregistry import BF16_GEMM_SETTINGS, ArchSupport, BufferSpec, Gemm, Proof, Size, hookimpl


class ExampleGemm(Gemm):
    name = "example_gemm"
    summary = "dense BF16 GEMM"
    dimensions = (Size("n", "output columns", multiple_of=8), Size("k", "input columns", multiple_of=8))
    settings = BF16_GEMM_SETTINGS
    function_names = ("bf16_gemm_nt",)
    archs = (ArchSupport("sm90"), ArchSupport("sm100"))
    proof = Proof(examples=({"n": 256, "k": 512}, {"n": 40, "k": 72}))

    def buffers(self, shape, max_m):
        a, b = BufferSpec((max_m, shape.k), "bfloat16"), BufferSpec((shape.n, shape.k), "bfloat16", "weight")
        return {"a": a, "b": b, "d": BufferSpec((max_m, shape.n), "bfloat16", "output")}

    def workspace_requirement(self, shape, max_m):
        return 0 if shape.deterministic else 16 << 20  # DeepGEMM 0.2 gives it to cuBLASLt

    def reference(self, buffers, m):
        return {"d": buffers.a[:m].float() @ buffers.b.float().T}


@hookimpl
def kregistry_kernel_types():
    return [ExampleGemm()]
