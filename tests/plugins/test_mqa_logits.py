"""The indexer's kernel types: what they refuse, empty calls, calls of engines, bytes, and schedules of all the work."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from kregistry import Registry, Shape, ShapeError, get_target
from kregistry_plugins.mqa_logits.contiguous_schedule import parts, schedule_of
from kregistry_plugins.mqa_logits.paged_schedule import schedule

if TYPE_CHECKING:
    import torch

_REFUSED = [
    ("fp8_mqa_logits", "h100", {"num_heads": 16}, "expected 32 or 64 on sm90, got 16"),
    ("fp8_mqa_logits", "b200", {"num_heads": 128}, "expected 8 or 16 or 32 or 64, got 128"),
    ("fp8_mqa_logits", "b200", {"head_dim": 96}, "expected 32 or 64 or 128, got 96"),
    ("fp8_fp4_mqa_logits", "h100", {"operands": "fp4"}, "fp4 is refused on sm90"),
    ("fp8_fp4_mqa_logits", "b200", {"operands": "fp4", "head_dim": 32}, "fp4 on sm100 takes 64 or 128, got 32"),
    ("fp8_fp4_mqa_logits", "rtx-pro-6000", {"operands": "fp4", "head_dim": 64}, "fp4 on sm120 takes 128, got 64"),
    ("fp8_fp4_mqa_logits", "h100", {"weights_dtype": "bfloat16"}, "bfloat16 is refused on sm90"),
    ("fp8_fp4_mqa_logits", "b200", {"weights_dtype": "bfloat16"}, "bfloat16 needs logits_dtype bfloat16"),
    ("fp8_paged_mqa_logits", "h100", {"next_n": 3}, "expected 1 or 2 on sm90, got 3"),
    ("fp8_paged_mqa_logits", "h100", {"block_kv": 32}, "expected 64 on sm90, got 32"),
    ("fp8_paged_mqa_logits", "h100", {"indices": True}, "true is refused on sm90"),
    ("fp8_paged_mqa_logits", "b200", {"indices": True, "next_n": 2}, "true needs next_n 1, got 2"),
    ("get_paged_mqa_logits_metadata", "h100", {"block_kv": 128}, "expected 64 on sm90, got 128"),
    ("fp8_fp4_sparse_mqa_logits", "b200", {"num_sparse_blocks": 4100}, "at most 4096, got 4100"),
    (
        "fp8_fp4_paged_sparse_mqa_logits",
        "b200",
        {"num_sparse_blocks": 4, "sparse_block_kv": 16, "page_kv": 24},
        "expected a multiple of sparse_block_kv, 16, got 24",
    ),
]


@pytest.mark.parametrize(("name", "target", "values", "text"), _REFUSED)
def test_what_deep_gemm_refuses_is_refused_before_the_call(
    name: str, target: str, values: dict[str, Any], text: str
) -> None:
    with pytest.raises(ShapeError, match=text):
        Registry()[name].resolve(values, get_target(target))


@pytest.mark.parametrize("name", ["fp8_mqa_logits", "fp8_paged_mqa_logits", "get_paged_mqa_logits_metadata"])
def test_sm120_needs_deep_gemm_0_2(name: str) -> None:
    kernel_type, target = Registry()[name], get_target("rtx-pro-6000")
    assert "needs DeepGEMM >=0.2" in str(kernel_type.unsupported_reason(target, "0.1.4.post1"))
    assert kernel_type.unsupported_reason(target, "0.2.3.post2") is None


def test_mxfp8_needs_deep_gemm_0_2_on_sm100() -> None:
    for name in ("mxfp8_mqa_logits", "mxfp8_paged_mqa_logits"):
        kernel_type = Registry()[name]
        assert "with FP4 only" in str(kernel_type.unsupported_reason(get_target("b200"), "0.1.4.post1"))
        assert kernel_type.unsupported_reason(get_target("b200"), "0.2.3.post2") is None
        assert "no kernels" in str(kernel_type.unsupported_reason(get_target("h100"), "0.2.3.post2"))
        assert "FP32 scale factors" in str(kernel_type.unsupported_reason(get_target("rtx-pro-6000"), "0.2.3.post2"))


# ---- empty calls: DeepGEMM would fail in the driver ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("queries", "keys", "max_seqlen_k", "size"),
    [(0, 300, 0, (0, 300)), (4, 0, 0, (4, 0)), (0, 300, 77, (0, 77)), (4, 0, 77, (4, 77))],
)
@pytest.mark.parametrize("name", ["fp8_mqa_logits", "fp8_fp4_mqa_logits"])
def test_without_queries_or_keys_the_result_is_empty(
    name: str, queries: int, keys: int, max_seqlen_k: int, size: tuple[int, int]
) -> None:
    import torch

    q = torch.empty(queries, 64, 128, dtype=torch.float8_e4m3fn)
    kv = (torch.empty(keys, 128, dtype=torch.float8_e4m3fn), torch.empty(keys))
    rest = (torch.empty(queries, 64), torch.empty(queries, dtype=torch.int32), torch.empty(queries, dtype=torch.int32))
    logits = Registry()[name](q if name == "fp8_mqa_logits" else (q, None), kv, *rest, max_seqlen_k=max_seqlen_k)
    assert (tuple(logits.shape), logits.dtype) == (size, torch.float32)


def test_an_empty_batch_has_empty_logits_and_a_schedule_without_work() -> None:
    import torch

    registry = Registry()
    for name, extra, dtype in (
        ("fp8_paged_mqa_logits", {}, torch.float32),
        ("fp8_fp4_paged_mqa_logits", {"logits_dtype": torch.bfloat16}, torch.bfloat16),
    ):
        kernel_type = registry[name]
        buffers = kernel_type.allocate_buffers(
            kernel_type.resolve({"max_context_len": 500}, get_target("h100")), 1, "cpu"
        )
        call = kernel_type.arguments(buffers, 0)
        logits = kernel_type(*call.args, **{**call.kwargs, **extra})
        assert (tuple(logits.shape), logits.dtype) == ((0, 500), dtype)
    context_lens = torch.empty(0, 2, dtype=torch.int32)
    assert registry["get_paged_mqa_logits_metadata"](context_lens, 64, 132).tolist() == [[0, 0]] * 133


# ---- real calls ----------------------------------------------------------------------------------------------------


def test_the_calls_of_sglang_are_read() -> None:
    """SGLang 0.5.23 (dsa_indexer.py): no max_seqlen_k, context lengths [batch, next_n], cache rows of 132 bytes."""
    import torch

    registry, meta = Registry(), torch.device("meta")
    q = torch.empty(100, 64, 128, dtype=torch.float8_e4m3fn, device=meta)
    kv = (torch.empty(7777, 128, dtype=torch.float8_e4m3fn, device=meta), torch.empty(7777, device=meta))
    weights, bound = torch.empty(100, 64, device=meta), torch.empty(100, dtype=torch.int32, device=meta)
    prefill = registry["fp8_mqa_logits"]
    assert prefill.read_m(q, kv, weights, bound, bound, clean_logits=False) == 100
    found = prefill.read_shape(q, kv, weights, bound, bound, clean_logits=False)
    assert found == {"num_heads": 64, "head_dim": 128, "logits": "all", "seq_len_kv": 7777}
    decode = registry["fp8_paged_mqa_logits"]
    args = (
        torch.empty(8, 2, 64, 128, dtype=torch.float8_e4m3fn, device=meta),
        torch.empty(900, 64, 1, 132, dtype=torch.uint8, device=meta),
        torch.empty(16, 64, device=meta),
        torch.empty(8, 2, dtype=torch.int32, device=meta),
        torch.empty(8, 40, dtype=torch.int32, device=meta),
        torch.empty(133, 2, dtype=torch.int32, device=meta),
        2560,
    )
    assert decode.read_m(*args, clean_logits=False) == 8
    shape = decode.resolve(decode.read_shape(*args, clean_logits=False), get_target("h100"))
    assert shape.shown() == {
        "num_heads": 64,
        "head_dim": 128,
        "next_n": 2,
        "block_kv": 64,
        "indices": False,
        "max_context_len": 2560,
        "num_pages": 900,
    }


def test_clean_logits_that_deep_gemm_asserts_against_are_refused() -> None:
    registry = Registry()
    kernel_type = registry["fp8_mqa_logits"]
    call = kernel_type.arguments(
        kernel_type.allocate_buffers(kernel_type.resolve({"logits": "compressed"}, get_target("h100")), 4, "meta"), 4
    )
    with pytest.raises(ShapeError, match="max_seqlen_k > 0 and clean_logits = True, expected False"):
        kernel_type.read_shape(*call.args, **{**call.kwargs, "clean_logits": True})


@pytest.mark.parametrize("owner", ["fp8_fp4_mqa_logits", "mxfp8_mqa_logits"])
def test_queries_tell_fp8_and_mxfp8_apart(owner: str) -> None:
    registry = Registry()
    kernel_type = registry[owner]
    buffers = kernel_type.allocate_buffers(kernel_type.resolve({}, get_target("b200")), 4, "meta")
    call = kernel_type.arguments(buffers, 4)
    takers = []
    for name in ("fp8_fp4_mqa_logits", "mxfp8_mqa_logits"):
        try:
            registry[name].read_shape(*call.args, **call.kwargs)
        except ShapeError:
            continue
        takers.append(name)
    assert takers == [owner]


@pytest.mark.parametrize(
    ("name", "size"), [("fp8_fp4_mqa_logits", (5, 64, 128)), ("fp8_fp4_paged_mqa_logits", (5, 2, 64, 128))]
)
def test_queries_without_scale_factors_may_come_as_a_tensor(name: str, size: tuple[int, ...]) -> None:
    """DeepGEMM 0.2 takes ``q`` as well as ``(q, None)``."""
    kernel_type = Registry()[name]
    shape = kernel_type.resolve({"next_n": 2} if "paged" in name else {}, get_target("h100"))
    call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 5, "meta"), 5)
    (q, none), *rest = call.args
    assert (tuple(q.shape), none) == (size, None)
    assert kernel_type.read_m(q, *rest, **call.kwargs) == 5
    assert kernel_type.resolve(kernel_type.read_shape(q, *rest, **call.kwargs), shape.target) == shape


# ---- bytes: kernels.md's closed formulas, by hand ------------------------------------------------------------------


def test_bytes_of_buffers_and_results() -> None:
    registry, h100 = Registry(), get_target("h100")
    prefill = registry["fp8_mqa_logits"]
    shape = prefill.resolve({"seq_len_kv": 4097}, h100)
    queries, keys = 3 * 64 * 128, 4097 * 128 + 4097 * 4
    assert prefill.memory_requirement(shape, 3) == queries + keys + 3 * 64 * 4 + 2 * 3 * 4
    assert prefill.workspace_requirement(shape, 3) == 4 * 4608 * 4  # 3 rows in blocks of 2, 4097 + 256 columns
    decode = registry["fp8_paged_mqa_logits"]
    shape = decode.resolve({"next_n": 2, "max_context_len": 1000, "num_pages": 16}, h100)
    cache, table = 16 * 64 * 132, 7 * 16 * 4
    rest = 14 * 64 * 4 + 14 * 4 + 133 * 2 * 4  # weights, context lengths, schedule
    assert decode.memory_requirement(shape, 7) == 14 * 64 * 128 + cache + table + rest
    assert decode.workspace_requirement(shape, 7) == 14 * 1024 * 4
    metadata = registry["get_paged_mqa_logits_metadata"]
    assert metadata.workspace_requirement(metadata.resolve({}, h100), 7) == 133 * 2 * 4


# ---- schedules -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 5, 64, 400])
@pytest.mark.parametrize("next_n", [1, 2, 3])
def test_every_split_is_done_once_and_no_sm_has_two_more_than_another_on_sm90(batch: int, next_n: int) -> None:
    import torch

    kernel_type = Registry()["get_paged_mqa_logits_metadata"]
    shape = kernel_type.resolve({"next_n": next_n}, get_target("h100"))
    generator = torch.Generator().manual_seed(batch)
    context_lens = torch.randint(1, 5000, (batch, next_n), generator=generator, dtype=torch.int32)
    entries = schedule(shape, 132, context_lens, None).tolist()
    pairs = -(-next_n // 2)
    splits = [-(-int(row[-1]) // 256) for row in context_lens]
    units = [
        (request * pairs + pair, split)
        for request in range(batch)
        for pair in range(pairs)
        for split in range(splits[request])
    ]
    place = {unit: index for index, unit in enumerate([*units, (batch * pairs, 0)])}
    starts = [place[tuple(entry)] for entry in entries]  # each entry is a unit of work, the last is past the end
    shares = [stop - start for start, stop in pairwise(starts)]
    assert starts[0] == 0 and starts[-1] == len(units)
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("indices", [[0, 0, 0, 1, 2, 2], None])
def test_every_request_starts_at_its_first_token_on_sm100(indices: list[int] | None) -> None:
    import torch

    kernel_type = Registry()["get_paged_mqa_logits_metadata"]
    shape = kernel_type.resolve({"indices": indices is not None}, get_target("b200"))
    context_lens = torch.tensor([[700], [701], [702], [256], [1], [2]], dtype=torch.int32)
    runs = None if indices is None else torch.tensor(indices, dtype=torch.int32)
    entries = schedule(shape, 4, context_lens, runs).tolist()
    # Work: 3 splits x 3 tokens, 1 x 1, 1 x 2 = 12 units; or 3 + 3 + 3 + 1 + 1 + 1 = 12.
    expected = [[0, 0], [0, 1], [0, 2], [3, 0], [6, 0]] if indices else [[0, 0], [1, 0], [2, 0], [3, 0], [6, 0]]
    assert entries == expected


@pytest.mark.parametrize("tokens", [1, 7, 300])
@pytest.mark.parametrize("heads", [8, 64])
def test_every_split_of_a_prefill_is_done_once(tokens: int, heads: int) -> None:
    import torch

    shape = Registry()["get_mqa_logits_metadata"].resolve({"num_heads": heads}, get_target("b200"))
    generator = torch.Generator().manual_seed(tokens)
    ks = torch.randint(0, 3000, (tokens,), generator=generator, dtype=torch.int32)
    ke = ks + torch.randint(0, 5000, (tokens,), generator=generator, dtype=torch.int32)
    ke[: tokens // 4] = ks[: tokens // 4]  # some blocks may have no key at all
    found = {name: part.tolist() for name, part in parts(shape, schedule_of(shape, ks, ke)).items()}
    per_block = 128 // heads
    spans = []
    for first in range(0, tokens, per_block):
        base = int(ks[first : first + per_block].min()) // 4 * 4
        spans.append([base, -(-(int(ke[first : first + per_block].max()) - base) // 256)])
    assert found["spans"] == spans
    units = [(block, split) for block, (_, splits) in enumerate(spans) for split in range(splits)]
    place = {unit: index for index, unit in enumerate([*units, (len(spans), 0)])}
    done = 0
    for start, count in zip(found["starts"], found["counts"]):
        assert count == 0 or place[tuple(start)] == done
        done += count
    assert done == len(units)
    assert max(found["counts"]) <= -(-(len(units) + len(spans)) // 148)


# ---- sparse --------------------------------------------------------------------------------------------------------


def _metadata(shape: Shape, rows: list[list[int]], scale: int) -> torch.Tensor:
    """Metadata as DeepGEMM's kernel lays it out: pairs of tokens, their blocks merged, splits in any order."""
    import torch

    size = (640 if shape.operands == "fp4" else 512) // shape.sparse_block_kv
    splits: list[list[int]] = []
    for first in range(0, len(rows), 2):
        pair = rows[first : first + 2]
        merged = sorted(set().union(*pair))
        for begin in range(0, len(merged), size):
            part = merged[begin : begin + size]
            bases = [sum(block < part[0] for block in row) for row in pair] + [0] * (2 - len(pair))
            words = [first, len(part), *bases]
            for block in part:
                slots = [row.index(block) - base if block in row else 0xFFFF for row, base in zip(pair, bases)]
                packed = slots[0] | (slots[1] if len(slots) > 1 else 0xFFFF) << 16
                words += [block * scale, packed - (1 << 32) if packed >= 1 << 31 else packed]
            splits.append(words + [0, -1] * (size - len(part)))
    splits.reverse()
    flat = [len(splits), 1, 0, 0, *(word for split in splits for word in split), *[0] * 600]
    return torch.tensor(flat, dtype=torch.int32).view(torch.uint8)


@pytest.mark.parametrize(
    "values",
    [
        {"num_sparse_blocks": 8, "seq_len_kv": 400},
        {"num_sparse_blocks": 100, "sparse_block_kv": 16, "operands": "mxfp8", "seq_len_kv": 3000},
    ],
    ids=["short", "several splits"],
)
def test_metadata_is_read_as_the_blocks_that_it_was_made_of(values: dict[str, Any]) -> None:
    import torch

    kernel_type = Registry()["get_sparse_mqa_logits_metadata"]
    shape = kernel_type.resolve(values, get_target("b200"))
    buffers = kernel_type.allocate_buffers(shape, 7, "cpu")
    kernel_type.fill(buffers, 7, torch.Generator().manual_seed(3))
    expected = kernel_type.reference(buffers, 7)["blocks"]
    counts = (expected >= 0).sum(1).tolist()
    rows = [row[:count] for row, count in zip(buffers.blocks.tolist(), counts)]
    assert all(row == sorted(set(row)) and row for row in rows)
    assert rows[0][0] * shape.sparse_block_kv >= int(buffers.ks[0])
    found = kernel_type.returned(_metadata(shape, rows, shape.sparse_block_kv), buffers, 7)["blocks"]
    assert found.equal(expected)


def test_bytes_of_metadata_are_those_measured() -> None:
    """With DeepGEMM 0.2.3 on the stub GPU; 8 MiB and 384 bytes are allocated once in a process."""
    registry, b200 = Registry(), get_target("b200")
    once = 8 * 2**20 + 384
    contiguous, paged = registry["get_sparse_mqa_logits_metadata"], registry["get_paged_sparse_mqa_logits_metadata"]
    for values, tokens, nbytes in (
        ({"num_sparse_blocks": 64}, 1, 3696),
        ({"num_sparse_blocks": 64}, 1000, 672592),
        ({"num_sparse_blocks": 256}, 64, 151696),
        ({"num_sparse_blocks": 64, "sparse_block_kv": 16}, 64, 45392),
        ({"num_sparse_blocks": 64, "operands": "mxfp8"}, 64, 36176),
    ):
        assert contiguous.workspace_requirement(contiguous.resolve(values, b200), tokens) == nbytes + once
    for values, tokens, nbytes in (
        ({"num_sparse_blocks": 64}, 1, 3040),
        ({"num_sparse_blocks": 84}, 7, 11568),
        ({"num_sparse_blocks": 32, "operands": "mxfp8"}, 7, 6080),
    ):
        assert paged.workspace_requirement(paged.resolve(values, b200), tokens) == nbytes + once
