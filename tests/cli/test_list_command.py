"""kregistry list, schema and targets: what there is to say in a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from command_line import Result

from kregistry.registry import Registry
from kregistry.target import TARGETS

Run = Callable[..., Result]


def test_all_kernel_types(kregistry: Run) -> None:
    result = kregistry("list")
    assert (result.code, result.err) == (0, "")
    for registration in Registry().registrations():
        assert registration.kernel_type.name in result.out
        assert str(registration.provider) in result.out


def test_one_kernel_type(kregistry: Run) -> None:
    result = kregistry("list", "m_grouped_fp8_gemm_nt_contiguous")
    lines = result.out.splitlines()
    assert lines[0].startswith("m_grouped_fp8_gemm_nt_contiguous: grouped FP8 GEMM")
    assert lines[1].startswith("provided by fp8_gemm (kregistry ")
    assert lines[2] == "calls deep_gemm.m_grouped_fp8_gemm_nt_contiguous or m_grouped_fp8_fp4_gemm_nt_contiguous"
    assert lines[3:6] == [
        "sm90: every DeepGEMM",
        "sm100: every DeepGEMM",
        "sm120: DeepGEMM >=0.2 DeepGEMM 0.1 asserts 'Unknown recipe' (layout.hpp:76) on sm120",
    ]
    table = result.out.split("meaning", 1)[1]
    for words in ("num_groups", "an integer >= 1 and a multiple of 16", "required", "by target", "128.. step 128"):
        assert words in table


def test_json(kregistry: Run) -> None:
    (found,) = kregistry("list", "tf32_hc_prenorm_gemm", "--json").json["kernel_types"]
    assert (found["name"], found["plugin"], found["run_dimension"]) == ("tf32_hc_prenorm_gemm", "hc_prenorm", "m")
    assert found["empty_input"] == "return"
    assert found["archs"]["sm90"] == {"deep_gemm": "", "reason": ""}
    assert found["dimensions"]["num_splits"] == {
        "meaning": "parts that k is split into, with one kernel per number; a name is a rule that depends on m",
        "unit": "parts",
        "required": False,
        "default": "none",
        "allowed": "an integer >= 1 or none or occupancy or vllm-buckets or flashinfer-buckets",
    }
    assert found["dimensions"]["n"]["required"] and found["dimensions"]["n"]["default"] is None


def test_the_schema_is_the_committed_one(kregistry: Run) -> None:
    committed = Path(__file__).parents[2] / "kernels.schema.json"
    result = kregistry("schema")
    assert (result.code, result.err) == (0, "")
    assert result.out == committed.read_text(), "regenerate it: kregistry schema > kernels.schema.json"


def test_targets(kregistry: Run) -> None:
    result = kregistry("targets")
    assert result.code == 0
    for target in TARGETS.values():
        assert f"\n{target.name} " in result.out
        assert str(target.num_sms) in result.out
    assert result.out.endswith("detect: the device of this machine; FILE.yaml: a target of your own\n")


def test_targets_as_json(kregistry: Run) -> None:
    found = json.loads(kregistry("targets", "--json").out)
    assert list(found) == list(TARGETS)
    assert (found["b300"]["arch"], found["b300"]["num_sms"]) == ("sm100", 148)
