"""Facts of kernels: names of template arguments come from DeepGEMM's headers."""

from __future__ import annotations

from attrs import evolve
from plans import K

from kregistry.deep_gemm.template_names import template_arguments
from kregistry.kernel import CompilerCommand, Kernel
from kregistry.report.page_contents import PageContents

ARGUMENTS = {"BLOCK_M": "32", "BLOCK_N": "64", "dtype_t": "cutlass::bfloat16_t", "kFlag": "true"}


def test_arguments_have_the_names_of_the_header(kernels: dict[str, Kernel]) -> None:
    assert dict(template_arguments(kernels[K[1].id])) == ARGUMENTS


def test_without_the_header_they_have_numbers(contents: PageContents, kernels: dict[str, Kernel]) -> None:
    alone = evolve(kernels[K[1].id], command=CompilerCommand((), ()))
    assert [name for name, _ in template_arguments(alone)] == [""] * 4
    facts = evolve(contents.facts[K[1].id], arguments=template_arguments(alone))
    assert facts.values()["argument 1"] == "32"
    assert facts.tile() == 0
    assert template_arguments(evolve(alone, source="nothing")) == ()


def test_real_kernels_have_names(kernel: Kernel) -> None:
    names = dict(template_arguments(kernel))
    assert names["BLOCK_M"].isdecimal() and names["SHAPE_N"] == "24"


def test_each_state_is_told(contents: PageContents) -> None:
    assert [each.state for each in contents.facts.values()] == ["ready", "stored", "missing", "missing"]
    facts = contents.facts[K[1].id]
    assert (facts.nbytes, facts.seconds, facts.tier, facts.tile()) == (2048, 2.5, "compiled", 32 * 64)
    assert contents.ready == 1
    assert contents.warnings() == (
        "model: sample n=16 layout=row splits=none sms=132: DeepGEMM refuses m 9: <no> & never",
        f"2 of 4 kernels are not built: {K[2].id}, {K[3].id}",
        f"1 of 4 kernels are not in the JIT cache: {K[1].id}",
    )
