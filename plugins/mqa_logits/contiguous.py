"""``fp8_mqa_logits`` and ``fp8_fp4_mqa_logits``: indexer logits of a prefill, over contiguous keys.

Query token i has the range [ks[i], ke[i]) of keys. Only the columns of this range are defined in its row of the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from kregistry import (
    NUM_SMS,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Choice,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import calls
from kregistry_plugins.fp8_gemm.scales import align
from kregistry_plugins.mqa_logits import forms, operands
from kregistry_plugins.mqa_logits.operands import parts_of

if TYPE_CHECKING:
    import torch

LOGITS = Choice(
    "logits",
    "columns of a row: all keys (undefined outside [ks, ke)); clean: all keys (-inf outside, clean_logits); "
    "compressed: from key ks on (max_seqlen_k > 0)",
    ("all", "clean", "compressed"),
    default="all",
)
SEQ_LEN_KV = Size(
    "seq_len_kv", "keys of one call; affects buffer sizes only", "tokens", default=4096, affects_kernel=False
)
#: One SM less is allowed here: sglang leaves one to a pipeline stage's receiver.
_NUM_SMS = evolve(NUM_SMS, multiple_of=1, minimum=1)
#: Query heads of one block of the kernel.
BLOCK_HEADS = 128


class MqaLogits(KernelType):
    """Logits [seq_len, columns] of seq_len query tokens, in a tensor that DeepGEMM allocates."""

    run_dimension = RunDimension("seq_len", "query tokens of one call", "tokens")
    archs = forms.ARCHS
    settings = (_NUM_SMS,)
    proof = Proof(kernel_depends_on_m=False, stop=100)

    def check(self, shape: Shape) -> None:
        forms.check_heads(self.name, shape)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        form, heads, head_dim = self.operands(shape), shape.num_heads, shape.head_dim
        return {
            **operands.queries(form, (max_m, heads), head_dim),
            **operands.keys(form, shape.seq_len_kv, head_dim),
            "weights": BufferSpec((max_m, heads), str(shape.get("weights_dtype", "float32"))),
            "ks": BufferSpec((max_m,), "int32", initial=0),
            "ke": BufferSpec((max_m,), "int32", initial=0),
        }

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """Bytes of the result: whole blocks of queries, and one more block of keys, since the last may start anywhere.

        Compressed logits of most versions do not need that block.
        """
        rows = align(max_m, BLOCK_HEADS // shape.num_heads)
        return int(rows * forms.row_bytes(shape.seq_len_kv + forms.BLOCK_KV, self.logits_dtype(shape)))

    def operands(self, shape: Shape) -> str:
        """The form of queries and keys; see operands.py."""
        return "fp8"

    def read_m(self, q: Any, kv: Any, *args: Any, **kwargs: Any) -> int:
        return parts_of(q)[0].shape[0] if kv[0].shape[0] else 0

    def empty_logits(self, call: Arguments, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Logits without a defined element, if there is no query or no key. DeepGEMM would fail in the driver."""
        import torch

        data, _ = parts_of(call.q)
        columns = call.max_seqlen_k or call.kv[0].shape[0]
        return data.new_empty((data.shape[0], columns), dtype=dtype or torch.float32)

    def logits_dtype(self, shape: Shape) -> str:
        return "float32"

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """Logits with zeros where they are undefined; for ``clean`` also the mask of those that are not -inf."""
        inside = _inside(buffers, m)
        results = {"logits": value.where(inside, 0)}
        if buffers.shape.logits == "clean":
            results["defined"] = value.isneginf().logical_not().int()
        return results

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        operands.fill(*operands.queries_of(buffers, m), generator)
        operands.fill(buffers.kv, buffers.kv_sf, generator)
        buffers.weights[:m].normal_(generator=generator)
        fill_ranges(buffers, m, generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        queries = operands.values_of(*operands.queries_of(buffers, m))
        keys = operands.values_of(buffers.kv, buffers.kv_sf)
        logits = operands.scores(queries, keys, buffers.weights[:m])
        inside = _inside(buffers, m)
        if buffers.shape.logits == "compressed":
            columns = torch.arange(logits.shape[1], device=logits.device) + buffers.ks[:m, None]
            logits = logits.gather(1, columns.clamp_max_(logits.shape[1] - 1))
        results = {"logits": logits.where(inside, 0)}
        if buffers.shape.logits == "clean":
            results["defined"] = inside.int()
        return results

    def read_keys(self, call: Arguments) -> Mapping[str, Value]:
        """The form of the logits, and the number of keys. DeepGEMM refuses logits that are clean and compressed."""
        if call.max_seqlen_k:
            calls.belongs(self.name, "max_seqlen_k > 0 and clean_logits", call.clean_logits, (False,))
        logits = "compressed" if call.max_seqlen_k else "clean" if call.clean_logits else "all"
        return {"logits": logits, "seq_len_kv": call.kv[0].shape[0]}

    def max_seqlen_k(self, shape: Shape) -> int:
        return int(shape.seq_len_kv) if shape.logits == "compressed" else 0


class Fp8MqaLogits(MqaLogits):
    """FP8 queries and keys, FP32 weights and logits: the indexer of DeepSeek-V3.2 in a prefill."""

    name = "fp8_mqa_logits"
    summary = "indexer logits of a prefill (DeepSeek sparse attention), FP8"
    dimensions = (operands.NUM_HEADS, operands.HEAD_DIM, LOGITS, SEQ_LEN_KV)
    function_names = ("fp8_mqa_logits",)
    signature = Signature("q, kv, weights, ks, ke, clean_logits=False, max_seqlen_k=0")
    # The tolerance is that of DeepGEMM's own test; 600 tokens are more blocks of queries than an H100 has SMs.
    proof = evolve(
        MqaLogits.proof,
        tolerance=5e-6,
        stop=600,
        examples=(
            {"num_heads": 32, "seq_len_kv": 601},
            {"num_heads": 64, "head_dim": 64, "logits": "clean", "seq_len_kv": 300},
            {"num_heads": 32, "head_dim": 32, "logits": "compressed", "seq_len_kv": 515},
            {"num_heads": 8, "logits": "clean", "seq_len_kv": 512},
        ),
    )

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape, keys = buffers.shape, (buffers.kv, buffers.kv_sf)
        return Call(
            (buffers.q[:m], keys, buffers.weights[:m], buffers.ks[:m], buffers.ke[:m]),
            {"clean_logits": shape.logits == "clean", "max_seqlen_k": self.max_seqlen_k(shape)},
        )

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        _, heads, head_dim = call.q.shape
        return {"num_heads": heads, "head_dim": head_dim, **self.read_keys(call)}

    def empty_result(self, call: Arguments) -> torch.Tensor:
        return self.empty_logits(call)


def fill_ranges(buffers: Buffers, m: int, generator: torch.Generator) -> None:
    """Random key ranges [ks, ke), none of them empty."""
    import torch

    tokens = buffers.shape.seq_len_kv
    middle = tokens // 2 + 1
    for bound, least, most in ((buffers.ks, 0, middle), (buffers.ke, middle, tokens + 1)):
        bound[:m] = torch.randint(least, most, (m,), device=generator.device, generator=generator)


def _inside(buffers: Buffers, m: int) -> torch.Tensor:
    """Mask bool [m, columns] of the defined elements of the result."""
    import torch

    columns = torch.arange(buffers.shape.seq_len_kv, device=buffers.ks.device)
    start, stop = buffers.ks[:m, None], buffers.ke[:m, None]
    if buffers.shape.logits == "compressed":
        return columns < stop - start
    return (columns >= start) & (columns < stop)
