"""Wrong kernel types, made by small operators from right ones: a right kernel type with one attribute changed.

``MUTANTS`` maps the name of a mutant to its class. Classes are made at import: a new process finds them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve
from good_kernel_types import Bf16Gemm, K, PlainGemm

from kregistry import ArchSupport, BufferSpec, Call, Choice, EmptyInput, Flag, KernelType, RunDimension, Signature, Size


def scaled_gemm(a: Any, scale: Any, index: Any, b: Any, d: Any, splits: int = 1) -> None:
    """d[m, n] = (a * scale)[index] @ b.T"""
    d.copy_((a.float() * scale)[index] @ b.float().T)


def adding_gemm(a: Any, b: Any, d: Any) -> None:
    """d[n, k] += b[m, n].T @ a[m, k]"""
    d.add_(b.float().T @ a.float())


def row_norms(x: Any) -> Any:
    """Returns the sum of squares of each row of x [m, k]."""
    return x.float().square().sum(-1)


class _OnCpu(KernelType):
    run_dimension = RunDimension("m", "rows", "rows")
    archs = (ArchSupport("sm90"),)


class ScaledGemm(_OnCpu):
    """Rows with scale factors, chosen by an index."""

    name, summary = "scaled_gemm", "GEMM of chosen rows with scale factors"
    dimensions = (Size("n", "columns", "columns"), K, Size("splits", "parts", "parts", default=1))
    function_names = ("scaled_gemm",)
    signature = Signature("a, scale, index, b, d, splits=1")
    proof = evolve(PlainGemm.proof, examples=({"n": 24, "k": 40}, {"n": 7, "k": 16, "splits": 2}))

    def compute(self, a: Any, scale: Any, index: Any, b: Any, d: Any, splits: int = 1) -> Any:
        scaled_gemm(a, scale, index, b, d, splits)

    def function(self) -> Callable[..., Any]:
        return self.compute

    def buffers(self, shape: Any, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            "a": BufferSpec((max_m, shape.k), "bfloat16"),
            "scale": BufferSpec((max_m, 1), "float32"),
            "index": BufferSpec((max_m,), "int64", initial=0),
            "b": BufferSpec((shape.n, shape.k), "bfloat16", "weight"),
            "d": BufferSpec((max_m, shape.n), "bfloat16", "output"),
        }

    def arguments(self, buffers: Any, m: int) -> Call:
        rows = (buffers.a[:m], buffers.scale[:m], buffers.index[:m])
        return Call((*rows, buffers.b, buffers.d[:m]), {"splits": buffers.shape.splits})

    def shape_of(self, call: Any) -> Any:
        return {"n": call.b.shape[0], "k": call.b.shape[1], "splits": call.splits}

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        buffers.a[:m].normal_(generator=generator)
        buffers.b.normal_(generator=generator)
        buffers.scale[:m].uniform_(0.5, 2, generator=generator)
        buffers.index[:m].random_(0, max(m, 1), generator=generator)

    def reference(self, buffers: Any, m: int) -> Any:
        a = buffers.a[:m].float() * buffers.scale[:m]
        return {"d": a[buffers.index[:m]] @ buffers.b.float().T}


class AddingGemm(_OnCpu):
    """Adds to its output, which does not shrink with m."""

    name, summary = "adding_gemm", "GEMM that adds to its output"
    dimensions = (Size("n", "columns of b", "columns"), K)
    function_names = ("adding_gemm",)
    signature = Signature("a, b, d")
    proof = evolve(PlainGemm.proof, examples=({"n": 24, "k": 40}, {"n": 7, "k": 16}))

    def compute(self, a: Any, b: Any, d: Any) -> Any:
        adding_gemm(a, b, d)

    def function(self) -> Callable[..., Any]:
        return self.compute

    def buffers(self, shape: Any, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            "a": BufferSpec((max_m, shape.k), "bfloat16"),
            "b": BufferSpec((max_m, shape.n), "bfloat16"),
            "d": BufferSpec((shape.n, shape.k), "float32", "output", accumulated=True),
        }

    def arguments(self, buffers: Any, m: int) -> Call:
        return Call((buffers.a[:m], buffers.b[:m], buffers.d))

    def shape_of(self, call: Any) -> Any:
        return {"n": call.b.shape[1], "k": call.a.shape[1]}

    def outputs(self, buffers: Any, m: int) -> Any:
        return {"d": buffers.d}

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        for tensor in (buffers.a[:m], buffers.b[:m], buffers.d):
            tensor.normal_(generator=generator)

    def reference(self, buffers: Any, m: int) -> Any:
        return {"d": buffers.d + buffers.b[:m].float().T @ buffers.a[:m].float()}


class RowNorms(_OnCpu):
    """Returns its result."""

    name, summary = "row_norms", "sums of squares of rows"
    dimensions = (K,)
    function_names = ("row_norms",)
    signature = Signature("x")
    proof = evolve(PlainGemm.proof, examples=({"k": 40}, {"k": 16}))

    def compute(self, x: Any) -> Any:
        return row_norms(x)

    def function(self) -> Callable[..., Any]:
        return self.compute

    def buffers(self, shape: Any, max_m: int) -> Mapping[str, BufferSpec]:
        return {"x": BufferSpec((max_m, shape.k), "bfloat16")}

    def arguments(self, buffers: Any, m: int) -> Call:
        return Call((buffers.x[:m],))

    def shape_of(self, call: Any) -> Any:
        return {"k": call.x.shape[1]}

    def returned(self, value: Any, buffers: Any, m: int) -> Any:
        return {"norms": value}

    def empty_result(self, call: Any) -> Any:
        return call.x.new_empty((0,)).float()

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        buffers.x[:m].normal_(generator=generator)

    def reference(self, buffers: Any, m: int) -> Any:
        return {"norms": buffers.x[:m].float().square().sum(-1)}


RIGHT = (ScaledGemm, AddingGemm, RowNorms, Bf16Gemm)
MUTANTS: dict[str, type[KernelType]] = {}


def mutant(label: str, base: type[KernelType], **attributes: Any) -> None:
    name = f"{base.__name__}_{label}"
    assert name not in MUTANTS, name
    cls = type(name, (base,), {**attributes, "__module__": __name__, "__qualname__": name})
    MUTANTS[name] = globals()[name] = cls


# ---- operators -------------------------------------------------------------------------------------------------


def after(base: type[Any], method: str, change: Callable[..., Any]) -> dict[str, Any]:
    """The method's value, changed: ``change(value, *arguments)``."""
    original = getattr(base, method)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        return change(original(self, *args, **kwargs), *args, **kwargs)

    return {method: wrapped}


def then(base: type[Any], method: str, act: Callable[..., Any]) -> dict[str, Any]:
    """Something more, after the method: ``act(self, *arguments)``."""
    original = getattr(base, method)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        value = original(self, *args, **kwargs)
        act(self, *args, **kwargs)
        return value

    return {method: wrapped}


def spec(base: type[Any], buffer: str, **changes: Any) -> dict[str, Any]:
    """Another declaration of one buffer."""
    return after(base, "buffers", lambda specs, shape, max_m: {**specs, buffer: evolve(specs[buffer], **changes)})


def of_result(base: type[Any], method: str, change: Callable[[Any], Any]) -> dict[str, Any]:
    """Each tensor of a method's mapping, changed."""
    return after(base, method, lambda found, *_: {name: change(tensor) for name, tensor in found.items()})


def on_cuda(act: Callable[[Any], Any]) -> dict[str, Any]:
    """Something before each launch on a device."""

    def launch(self: Any, a: Any, *args: Any, **kwargs: Any) -> Any:
        if a.is_cuda:
            act(a)
        return KernelType.launch(self, a, *args, **kwargs)

    return {"launch": launch}


S, A, R, B = ScaledGemm, AddingGemm, RowNorms, Bf16Gemm
_REMEMBERED: dict[Any, Any] = {}


def _remember(key: Any, make: Callable[[], Any]) -> Any:
    return _REMEMBERED.setdefault(key, make())


# The launch: drop a term, shift, swap, forget, wrong for one size, stale.
def _compute(change: Callable[..., Any]) -> dict[str, Any]:
    def compute(self: Any, a: Any, scale: Any, index: Any, b: Any, d: Any, splits: int = 1) -> Any:
        return change(a, scale, index, b, d, splits)

    return {"compute": compute}


for label, change in {
    "does_nothing": lambda a, s, i, b, d, n: None,
    "drops_the_scale": lambda a, s, i, b, d, n: scaled_gemm(a, s * 0 + 1, i, b, d),
    "drops_the_index": lambda a, s, i, b, d, n: scaled_gemm(a, s, i.sort().values, b, d),
    "one_scale_for_all": lambda a, s, i, b, d, n: scaled_gemm(a, s[:1], i, b, d),
    "shifts_the_scale": lambda a, s, i, b, d, n: scaled_gemm(a, s.roll(1, 0), i, b, d),
    "forgets_the_last_row": lambda a, s, i, b, d, n: scaled_gemm(a, s, i[:-1], b, d[:-1]),
    "forgets_the_last_column": lambda a, s, i, b, d, n: scaled_gemm(a, s, i, b[:-1], d[:, :-1]),
    "forgets_the_last_k": lambda a, s, i, b, d, n: scaled_gemm(a[:, :-1], s, i, b[:, :-1], d),
    "forgets_the_tail": lambda a, s, i, b, d, n: scaled_gemm(a, s, i[: len(i) // 16 * 16], b, d[: len(i) // 16 * 16]),
    "wrong_at_100": lambda a, s, i, b, d, n: scaled_gemm(a, s if len(a) != 100 else -s, i, b, d),
    "wrong_past_150": lambda a, s, i, b, d, n: scaled_gemm(a, s if len(a) < 151 else s * 1.2, i, b, d),
    "wrong_for_splits": lambda a, s, i, b, d, n: scaled_gemm(a, s * n, i, b, d),
    "wrong_for_odd_k": lambda a, s, i, b, d, n: scaled_gemm(
        a[:, : a.shape[1] // 2 * 2], s, i, b[:, : a.shape[1] // 2 * 2], d
    ),
    "adds_to_the_output": lambda a, s, i, b, d, n: d.add_((a.float() * s)[i] @ b.float().T),
    "rounds_the_scale": lambda a, s, i, b, d, n: scaled_gemm(a, s.round(), i, b, d),
    "takes_the_absolute": lambda a, s, i, b, d, n: scaled_gemm(a.abs(), s, i, b, d),
    "zeroes_a_column": lambda a, s, i, b, d, n: (scaled_gemm(a, s, i, b, d), d[:, -1].zero_()),
    "changes_an_input": lambda a, s, i, b, d, n: (scaled_gemm(a, s, i, b, d), s.mul_(2)),
    "writes_past_m": lambda a, s, i, b, d, n: (
        scaled_gemm(a, s, i, b, d),
        d.as_strided((len(d) + 1, d.shape[1]), d.stride())[-1].zero_(),
    ),
    "remembers_its_result": lambda a, s, i, b, d, n: d.copy_(
        _remember((a.data_ptr(), len(a)), lambda: (a.float() * s)[i] @ b.float().T)
    ),
}.items():
    mutant(f"launch_{label}", S, **_compute(change))

# The reference: the same faults, and those by which it agrees with anything.
mutant("reference_ignores_scale", S, reference=lambda self, x, m: {"d": x.a[:m].float()[x.index[:m]] @ x.b.float().T})
mutant(
    "reference_and_launch_ignore_scale",
    S,
    reference=lambda self, x, m: {"d": x.a[:m].float()[x.index[:m]] @ x.b.float().T},
    **_compute(lambda a, s, i, b, d, n: scaled_gemm(a, s * 0 + 1, i, b, d)),
)
mutant(
    "reference_and_launch_ignore_index",
    S,
    reference=lambda self, x, m: {"d": (x.a[:m].float() * x.scale[:m]) @ x.b.float().T},
    **_compute(lambda a, s, i, b, d, n: d.copy_((a.float() * s) @ b.float().T)),
)
mutant(
    "reference_calls_the_launch",
    S,
    reference=lambda self, x, m: (lambda d: (self.compute(x.a[:m], x.scale[:m], x.index[:m], x.b, d), {"d": d})[1])(
        x.d[:m].float().clone()
    ),
)
mutant("reference_returns_the_output", S, reference=lambda self, x, m: {"d": x.d[:m].float()})
mutant("reference_is_random", S, **then(S, "reference", lambda self, x, m: x.a.new_empty(1).normal_()))
mutant("reference_times_1_1", S, **of_result(S, "reference", lambda t: t * 1.1))
mutant("reference_transposed_rows", S, **of_result(S, "reference", lambda t: t.flip(0)))
mutant("reference_writes_input", S, **then(S, "reference", lambda self, x, m: x.scale.mul_(1.5)))
mutant("reference_infinite", S, **of_result(S, "reference", lambda t: t / 0))
mutant("reference_too_short", S, **of_result(S, "reference", lambda t: t[:-1]))

# The inputs.
mutant("fill_writes_the_result", S, **then(S, "fill", lambda self, x, m, g: x.d[:m].copy_(self.reference(x, m)["d"])))
mutant("fill_zeroes_the_output", S, **then(S, "fill", lambda self, x, m, g: x.d.zero_()))
mutant("fill_writes_past_m", S, **then(S, "fill", lambda self, x, m, g: x.a.fill_(1)))
mutant("fill_equal_scales", S, **then(S, "fill", lambda self, x, m, g: x.scale[:m].fill_(1)))
mutant(
    "fill_forgets_scale",
    S,
    fill=lambda self, x, m, g: (
        x.a[:m].normal_(generator=g),
        x.b.normal_(generator=g),
        x.index[:m].random_(0, max(m, 1), generator=g),
        None,
    )[-1],
)
mutant("fill_own_random_numbers", S, **then(S, "fill", lambda self, x, m, g: x.a[:m].normal_()))
mutant(
    "fill_equal_for_each_seed",
    S,
    **then(S, "fill", lambda self, x, m, g: [t.fill_(1) for t in (x.a[:m], x.b, x.scale[:m])] and x.index[:m].zero_()),
)
mutant("fill_zeros", S, **then(S, "fill", lambda self, x, m, g: x.b.zero_()))
mutant("fill_sets_a_seed", S, **then(S, "fill", lambda self, x, m, g: __import__("torch").manual_seed(0)))
mutant(
    "fill_sets_threads",
    S,
    **then(S, "fill", lambda self, x, m, g: __import__("torch").set_default_dtype(__import__("torch").float64)),
)

# The buffers.
mutant("index_not_initial", S, **spec(S, "index", initial=None))
mutant("buffers_stop_at_256", S, buffers=lambda self, shape, max_m: S.buffers(self, shape, min(max_m, 256)))
mutant(
    "output_stops_at_4096",
    S,
    **after(S, "buffers", lambda specs, shape, m: {**specs, "d": evolve(specs["d"], shape=(min(m, 4096), shape.n))}),
)
mutant("output_is_input", S, **spec(S, "d", role="input"))
mutant(
    "unused_buffer", S, **after(S, "buffers", lambda specs, shape, m: {**specs, "extra": BufferSpec((4,), "float32")})
)
mutant("bytes_without_index", S, memory_requirement=lambda self, shape, m: S.memory_requirement(self, shape, m) - 8 * m)
mutant(
    "bytes_wrong_past_1000",
    S,
    memory_requirement=lambda self, shape, m: S.memory_requirement(self, shape, min(m, 1000)),
)
mutant(
    "bytes_wrong_for_odd_n",
    S,
    memory_requirement=lambda self, shape, m: S.memory_requirement(self, shape, m) + 4 * (shape.n % 2),
)
mutant("needs_the_device", S, workspace_requirement=lambda self, shape, m: 1 << 50)
mutant("schedule_that_matters", S, **spec(S, "index", affects_results=False))

# Outputs and results.
mutant(
    "results_one_column",
    S,
    results=lambda self, x, m: {"d": x.d[:m, :1]},
    **of_result(S, "reference", lambda t: t[:, :1]),
)
mutant(
    "results_first_half",
    S,
    results=lambda self, x, m: {"d": x.d[: -(-m // 2)]},
    reference=lambda self, x, m: {"d": S.reference(self, x, m)["d"][: -(-m // 2)]},
)
mutant("outputs_nothing", S, outputs=lambda self, x, m: {}, reference=lambda self, x, m: {})
mutant(
    "outputs_one_row_less",
    S,
    outputs=lambda self, x, m: {"d": x.d[: max(m - 1, 0)]},
    reference=lambda self, x, m: {"d": S.reference(self, x, m)["d"][:-1]},
)
mutant("writes_anything", S, writable=lambda self, x, m: {"d": x.d})
mutant("tolerance_half", S, proof=evolve(S.proof, tolerance=0.5))
mutant("tolerance_noise", S, proof=evolve(S.proof, tolerance=0.005))
mutant("tolerance_with_a_reason", S, proof=evolve(S.proof, tolerance=0.05, tolerance_reason="it rounds"))
mutant("tolerance_too_small", S, proof=evolve(S.proof, tolerance=1e-12))

# Calls.
mutant("reads_the_padded_m", S, read_m=lambda self, a, *r, **k: -(-a.shape[0] // 8) * 8)
mutant("reads_at_most_1000", S, read_m=lambda self, a, *r, **k: min(a.shape[0], 1000))
mutant("reads_a_tensor", S, read_m=lambda self, a, *r, **k: a.new_tensor(a.shape[0]) if a.shape[0] else 0)
mutant("reads_by_another_name", S, read_m=lambda self, x, *r, **k: x.shape[0])
mutant(
    "reads_by_position_differently",
    S,
    read_m=lambda self, a, scale, index, b, d, splits=None, **k: a.shape[0] + (splits is not None and not a.shape[0]),
)
mutant(
    "swaps_n_and_k", S, shape_of=lambda self, call: {"n": call.b.shape[1], "k": call.b.shape[0], "splits": call.splits}
)
mutant("forgets_splits", S, shape_of=lambda self, call: {"n": call.b.shape[0], "k": call.b.shape[1], "splits": 1})
mutant(
    "n_wrong_past_64",
    S,
    shape_of=lambda self, call: {"n": min(call.b.shape[0], 64), "k": call.b.shape[1], "splits": call.splits},
    proof=evolve(S.proof, examples=({"n": 24, "k": 40}, {"n": 64, "k": 16})),
)
mutant(
    "passes_a_copy",
    S,
    **after(S, "arguments", lambda call, x, m: Call((call.args[0].clone(), *call.args[1:]), call.kwargs)),
)
mutant(
    "passes_one_row_more",
    S,
    **after(S, "arguments", lambda call, x, m: Call((*call.args[:4], x.d[: m + 1]), call.kwargs)),
)
mutant(
    "stale_arguments",
    S,
    arguments=lambda self, x, m: _remember((self.name, x.shape, m), lambda: S.arguments(self, x, m)),
)
mutant("warms_up_another_call", S, execute=lambda self, x, m: self.launch(*self.arguments(x, m).args, splits=7))
mutant("launches_the_empty", S, launch=lambda self, *a, **k: self.function()(*a, **k))

# Declarations and opt-outs.
mutant("no_arch", S, archs=())
mutant("arch_of_no_version", S, archs=(ArchSupport("sm90", ">=99", "not yet"),))
mutant("unknown_arch", S, archs=(ArchSupport("sm77"),))
mutant("collective", S, collective=lambda self, shape: "others")
mutant("one_value", S, proof=evolve(S.proof, start=1, stop=1))
mutant("handles_and_raises", S, handles_empty="", raises_on_empty="")
mutant("zeroes_nothing", S, empty_input=EmptyInput.ZERO_OUTPUTS)
mutant("no_examples", S, proof=evolve(S.proof, examples=()))
mutant("run_dimension_label", S, run_dimension=RunDimension("label", "rows"))
mutant("refuses_large", S, refusal=lambda self, shape, m: "too large" if m > 1000 else None)

# A launch that adds.
mutant("overwrites", A, compute=lambda self, a, b, d: d.copy_(b.float().T @ a.float()))
mutant("adds_twice", A, compute=lambda self, a, b, d: (adding_gemm(a, b, d), adding_gemm(a, b, d), None)[-1])
mutant("not_declared", A, **spec(A, "d", accumulated=False))
mutant("reference_without_what_it_held", A, reference=lambda self, x, m: {"d": x.b[:m].float().T @ x.a[:m].float()})
mutant("forgets_a_row", A, compute=lambda self, a, b, d: adding_gemm(a[1:], b[1:], d))

# A launch that returns.
mutant("returns_one_less", R, **after(R, "compute", lambda value, x: value[:-1]))
mutant("returns_half", R, **after(R, "compute", lambda value, x: value * 0.5))
mutant("empty_is_none", R, empty_result=lambda self, call: None)
mutant("empty_of_another_dtype", R, empty_result=lambda self, call: call.x.new_empty((0,)))
mutant("empty_of_another_rank", R, empty_result=lambda self, call: call.x.new_empty((0, 1)).float())

# On the stub GPU.
mutant(
    "swaps_operands", B, **after(B, "arguments", lambda call, x, m: Call((call.args[1], call.args[0], call.args[2])))
)
mutant("launch_nothing", B, launch=lambda self, a, *r, **k: None if a.is_cuda else KernelType.launch(self, a, *r, **k))
mutant("waits", B, **on_cuda(lambda a: __import__("torch").cuda.synchronize()))
mutant("reads_back", B, **on_cuda(lambda a: a.flatten()[:1].tolist()))
mutant("allocates", B, **on_cuda(lambda a: a.new_empty(2048)))
mutant("grain_of_one", B, dimensions=(Size("n", "columns"), evolve(B.dimensions[1])))
mutant("no_settings", B, settings=())
mutant("claims_sm120", B, archs=(ArchSupport("sm90"), ArchSupport("sm120")))
mutant("one_kernel", B, proof=evolve(B.proof, kernel_depends_on_m=False))
mutant("signature_of_another", B, signature=Signature("a, b, d, c=0, compiled_dims='nk'"))
mutant(
    "choice_that_is_refused",
    B,
    dimensions=(*B.dimensions, Choice("out", "dtype", ("bfloat16", "int8"), default="bfloat16")),
    shape_of=lambda self, call: {**B.shape_of(self, call), "out": str(call.d.dtype)[6:]},
    **after(B, "buffers", lambda specs, shape, m: {**specs, "d": evolve(specs["d"], dtype=shape.out)}),
)
mutant(
    "flag_that_reaches_nothing",
    B,
    dimensions=(*B.dimensions, Flag("fast", "faster", default=False)),
    shape_of=lambda self, call: {**B.shape_of(self, call), "fast": False},
    proof=evolve(B.proof, examples=({"n": 256, "k": 512}, {"n": 40, "k": 72, "fast": True})),
)
mutant("a_is_float16", B, **spec(B, "a", dtype="float16"))
mutant("says_that_it_reads", B, reads_device_memory=True)
mutant("sets_num_sms", B, **on_cuda(lambda a: __import__("deep_gemm").set_num_sms(66)))  # it stays set: the last one

# What no kit can tell, with the reason.
mutant("grain_too_coarse", B, dimensions=(Size("n", "columns", multiple_of=64), evolve(B.dimensions[1])))
mutant("check_refuses_too_much", S, check=lambda self, shape: _refuse(shape.n > 100))
mutant("summary_of_another", R, summary="dense BF16 GEMM")
SURVIVORS = {
    "Bf16Gemm_grain_too_coarse": "an author may promise less than DeepGEMM takes",
    "ScaledGemm_check_refuses_too_much": "the same: what check() refuses is never launched",
    "RowNorms_summary_of_another": "no rule understands prose",
}


def _refuse(refused: bool) -> None:
    if refused:
        from kregistry import ShapeError

        raise ShapeError("n must be at most 100")
