"""The kernel type `example_gemm`: d[m, n] = a[m, k] @ b[n, k].T in BF16."""

from kregistry import ArchSupport, BufferSpec, Call, Dimension, KernelType, RunDimension, hookimpl

N = Dimension("n", "columns of the output", "columns", multiple_of=8)
K = Dimension("k", "columns of the input", "columns", multiple_of=8)


class ExampleGemm(KernelType):
    name = "example_gemm"
    summary = "dense BF16 GEMM"
    dimensions = (N, K)
    run_dimension = RunDimension("m", "tokens of one step", "rows")
    function_names = ("bf16_gemm_nt",)
    archs = (ArchSupport("sm90"), ArchSupport("sm100"))
    examples = ({"n": 256, "k": 512}, {"n": 40, "k": 72})

    def buffers(self, shape, max_m):
        a, b = BufferSpec((max_m, shape.k), "bfloat16"), BufferSpec((shape.n, shape.k), "bfloat16", "weight")
        return {"a": a, "b": b, "d": BufferSpec((max_m, shape.n), "bfloat16", "output")}

    def arguments(self, buffers, m):
        return Call((buffers.a[:m], buffers.b, buffers.d[:m]))

    def read_m(self, a, b, d):
        return a.shape[0]

    def read_shape(self, a, b, d):
        return {"n": b.shape[0], "k": b.shape[1]}

    def outputs(self, buffers, m):
        return {"d": buffers.d[:m]}

    def fill(self, buffers, m, generator):
        buffers.a[:m].normal_(generator=generator)
        buffers.b.normal_(generator=generator)

    def reference(self, buffers, m):
        return {"d": buffers.a[:m].float() @ buffers.b.float().T}


@hookimpl
def kregistry_kernel_types():
    return [ExampleGemm()]
