"""The calls of DeepGEMM that an engine makes are seen wherever it takes the function from."""

from __future__ import annotations

import io
import json
from types import ModuleType

import pytest

from kregistry.rehearsal import observer as module
from kregistry.rehearsal.observer import Observer


def test_functions_are_wrapped_in_every_module_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """SGLang takes layouts of scale factors from deep_gemm.utils.layout; calls of DeepGEMM's own do not count."""
    gemm, utils, layout = (ModuleType(name) for name in ("deep_gemm", "deep_gemm.utils", "deep_gemm.utils.layout"))
    vars(gemm).update(utils=utils, fp8_gemm_nt=lambda: layout.transform_sf_into_required_layout(), other=len)
    vars(utils)["layout"] = layout
    vars(layout)["transform_sf_into_required_layout"] = lambda: "done"
    monkeypatch.setattr(module, "recognise", lambda *args: None)
    monkeypatch.setattr(module, "why_unknown", lambda registry, function, args, kwargs: "a test")
    out = io.StringIO()
    Observer(out).observe(gemm)
    assert gemm.other is len
    assert gemm.fp8_gemm_nt() == "done"
    assert [json.loads(line)["function"] for line in out.getvalue().splitlines()] == ["fp8_gemm_nt"]
    assert layout.transform_sf_into_required_layout() == "done"
    last = json.loads(out.getvalue().splitlines()[-1])
    assert (last["function"], last["reason"]) == ("transform_sf_into_required_layout", "a test")


def test_a_copy_of_deep_gemm_is_read_by_its_own_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM brings one whose sixth parameter is another one than that of the installed DeepGEMM."""
    read: list[tuple[tuple[object, ...], dict[str, object]]] = []

    def fp8_fp4_mqa_logits(q: int, kv: int, max_seqlen_k: int, meta: object = None) -> None:
        pass

    monkeypatch.setattr(module, "recognise", lambda registry, function, args, kwargs: read.append((args, kwargs)))
    monkeypatch.setattr(module, "why_unknown", lambda *args: "a test")
    for name in ("vllm.third_party.deep_gemm", "deep_gemm"):
        gemm = ModuleType(name)
        vars(gemm)["fp8_fp4_mqa_logits"] = fp8_fp4_mqa_logits
        Observer(io.StringIO()).observe(gemm)
        gemm.fp8_fp4_mqa_logits(1, 2, 3, meta=4)
    by_position: tuple[tuple[object, ...], dict[str, object]] = ((1, 2, 3), {"meta": 4})
    assert read == [((), {"q": 1, "kv": 2, "max_seqlen_k": 3, "meta": 4}), by_position, by_position]
