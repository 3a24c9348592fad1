"""The formulas against the tables of shapes in tests/data/models/tables.json, cell by cell."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from kregistry.hf_config.call_site import CallSite, LayerVerdict
from kregistry.hf_config.resolve import ModelCalls

TABLES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "data" / "models" / "tables.json").read_text(encoding="utf-8")
)["tables"]

#: Names of the tables -> names of configs, where they differ.
CONFIGS = {"deepseek-v4-flash": "deepseek-v4-flash-fp8", "deepseek-v4-pro": "deepseek-v4-pro-fp8"}
#: Columns of the tables -> settings.
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("sglang", "tp8"): {"tp": 8},
    ("sglang", "tp8 ep8 (deepep)"): {"tp": 8, "a2a": "deepep"},
    ("sglang", "dp8 attn, ep8 (deepep)"): {"tp": 8, "dp": 8, "a2a": "deepep"},
    ("sglang", "tp16"): {"tp": 16},
    ("vllm", "tp8"): {"tp": 8, "moe_runner": "deep_gemm"},
    ("vllm", "tp8 +EP"): {"tp": 8, "ep": 8, "moe_runner": "deep_gemm"},
    ("vllm", "tp1 dp8 +EP"): {"dp": 8, "ep": 8, "moe_runner": "deep_gemm"},
    ("vllm", "tp16"): {"tp": 16, "moe_runner": "deep_gemm"},
}
#: Rows of the tables -> labels.
LABELS = {
    "fused_qkv_a_proj_with_mqa": "fused_qkv_a_proj",
    "q_b_proj (col)": "q_b_proj",
    "kv_b_proj (col, MHA prefill path only)": "kv_b_proj",
    "o_proj (row)": "o_proj",
    "indexer wq_b": "indexer wq_b",
    "indexer wk": "indexer wk",
    "dense mlp gate_up (col)": "dense gate_up_proj",
    "dense mlp down (row)": "dense down_proj",
    "shared expert gate_up": "shared expert gate_up_proj",
    "shared expert down": "shared expert down_proj",
    "moe w13": "experts w13",
    "moe w2": "experts w2",
    "wqkv_a": "wqkv_a",
    "wq_b (col)": "wq_b",
    "wo_a einsum": "wo_a",
    "wo_b (row)": "wo_b",
    "C4 indexer wq_b": "indexer wq_b",
    "hc prenorm": "hc_prenorm",
    "NextN e_proj": "NextN e_proj",
    "NextN h_proj": "NextN h_proj",
    "qkv_proj (QKVParallel)": "qkv_proj",
    "GDN in_proj_qkvz (col)": "GDN in_proj_qkvz",
    "GDN in_proj_ba (col)": "GDN in_proj_ba",
    "GDN out_proj (row)": "GDN out_proj",
    "attn qkv_proj (q doubled by output gate)": "qkv_proj",
    "attn o_proj (row)": "o_proj",
    "sliding-window qkv_proj": "sliding-window qkv_proj",
    "sliding-window o_proj": "sliding-window o_proj",
}
#: Remarks of the tables -> the rule that a layer is left out by.
RULES = {"(Triton MoE)": "runner", "✗load": "block", "→triton": "alignment"}


@frozen
class Cell:
    """``"512x7168 g=257 (Triton MoE)"``."""

    n: int
    k: int
    groups: str
    rule: str


def parse_cell(text: str) -> Cell:
    match = re.fullmatch(r"(\d+)x(\d+)(?: g=(\S+))?(?: (.+))?", text)
    assert match, text
    n, k, groups, remark = match.groups()
    return Cell(int(n), int(k), groups or "1", RULES[remark] if remark else "")


def sites_of(calls: ModelCalls, label: str) -> list[CallSite]:
    """All call sites of a layer; experts have one for each grouped layout."""
    return [site for site in calls.sites if site.label == label or site.label.startswith(f"{label} (")]


def check_cell(text: str, sites: list[CallSite], engine: str) -> None:
    if text in ("-", "BF16"):
        expected = LayerVerdict.FUSED if text == "-" else LayerVerdict.NOT_QUANTIZED
        assert all(site.verdict is expected for site in sites)
        return
    assert sites, "the family has no such layer"
    for site in sites:
        if text == "impossible":
            assert (site.verdict, site.rule) == (LayerVerdict.DOES_NOT_LOAD, "division")
            continue
        cell = parse_cell(text)
        if site.kernel_type == "fp8_einsum_bhr_hdr_bhd":
            assert (site.shape["d"], site.shape["r"], str(site.shape["h"])) == (cell.n, cell.k, cell.groups)
        elif site.kernel_type == "tf32_hc_prenorm_gemm":
            assert dict(site.shape) == {"n": cell.n, "k": cell.k, "num_splits": "occupancy"}
            assert cell.groups == "num_splits(m)"
        else:
            shape = {"n": cell.n, "k": cell.k}
            shape.update({"num_groups": int(cell.groups)} if "grouped" in site.kernel_type else {})
            assert {name: value for name, value in site.shape.items() if name != "use_psum_layout"} == shape
            assert site.rule == cell.rule
            assert (site.verdict is LayerVerdict.DEEP_GEMM) == (site.rule == "")


COLUMNS = [(table, column) for table in TABLES for column in range(len(table["columns"]))]


@pytest.mark.parametrize(
    ("table", "column"),
    COLUMNS,
    ids=[f"{table['model']}-{table['engine']}-{table['columns'][column]}" for table, column in COLUMNS],
)
def test_every_cell(table: dict[str, Any], column: int, resolve: Callable[..., ModelCalls]) -> None:
    engine = table["engine"]
    setting = SETTINGS[engine, table["columns"][column]]
    # The draft layer of DeepSeek-V4 is in the tables, so the server speculates.
    draft = {"speculative_tokens": 2} if "deepseek-v4" in table["model"] else {}
    calls = resolve(CONFIGS.get(table["model"], table["model"]), engine, **setting, **draft)
    for row, cells in table["rows"].items():
        try:
            check_cell(cells[column], sites_of(calls, LABELS[row]), engine)
        except AssertionError as error:
            raise AssertionError(f"{row}: {cells[column]}: {error}") from error


@pytest.mark.parametrize("table", TABLES, ids=[f"{table['model']}-{table['engine']}" for table in TABLES])
def test_no_fp8_layer_beyond_the_table(table: dict[str, Any], resolve: Callable[..., ModelCalls]) -> None:
    """A manifest must not have dense shapes that the server does not call."""
    labels = {LABELS[row] for row in table["rows"]}
    for column in table["columns"]:
        config = CONFIGS.get(table["model"], table["model"])
        calls = resolve(config, table["engine"], **SETTINGS[table["engine"], column])
        extra = [
            site.label
            for site in calls.with_verdict(LayerVerdict.DEEP_GEMM)
            if (site.kernel_type in ("fp8_gemm_nt", "tf32_hc_prenorm_gemm") and site.label.split(",")[0] not in labels)
            or ("grouped" in site.kernel_type and site.label.split(" (")[0] not in labels)
        ]
        assert extra == []


def test_the_tables_are_complete() -> None:
    """As many cells as the source has: a fixture that lost rows would make the other tests empty."""
    assert len(TABLES) == 22
    assert sum(len(cells) for table in TABLES for cells in table["rows"].values()) == 696
