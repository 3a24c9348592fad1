"""The two reports of a compiler become an event, also for sources and processes of which nothing can be read."""

from __future__ import annotations

from typing import Any

import pytest
from families import source_of

from kregistry.jit_monitor.compile_report import StartedCompile
from kregistry.registry import Registry


def event(source: str, code: int, *, refuse: bool = False) -> dict[str, Any]:
    report = {"caller": 1 << 30, "child": 0, "time": 5.0, "source": source, "refuse": refuse}  # no such process
    started = StartedCompile.read(Registry(), report)
    return started.ended({"code": code, "seconds": 1.5}).to_json()


@pytest.mark.parametrize(
    ("code", "refuse", "outcome"), [(0, False, "compiled"), (2, False, "failed"), (1, True, "refused")]
)
def test_a_compile_of_another_process(code: int, refuse: bool, outcome: str) -> None:
    got = event(source_of("&gemm_impl<8, std::pair<int, float>>"), code, refuse=refuse)
    assert (got["kernel"], got["template"]) == ("gemm", ("8", "std::pair<int, float>"))
    assert (got["outcome"], got["seconds"], got["time"], got["pid"]) == (outcome, 1.5, 5.0, 1 << 30)
    assert (got["site"], got["stack"], got["kernel_type"], got["process"]) == ("", (), "", "")


def test_a_source_of_another_form_has_no_kernel_name() -> None:
    got = event("int main() {}", 0)
    assert (got["kernel"], got["template"]) == ("", ())
