"""Families come from entry points, and a wrong one is reported instead of giving wrong shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from attrs import evolve
from command_line import Result
from distributions import Install

from kregistry import KernelType, Registry, get_target, hookimpl
from kregistry.errors import UnknownNameError
from kregistry.hf_config.call_site import CallSite, LayerVerdict
from kregistry.hf_config.config import parse_config
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.installed_families import ENTRY_POINT_GROUP, installed_families
from kregistry.hf_config.model_family import Family, Linear, Special, Symbol, declaration_fault
from kregistry.hf_config.resolve import model_calls

TOY = Family(
    name="toy",
    summary="one linear layer",
    architectures=("ToyForCausalLM",),
    symbols=(Symbol("hidden", ("hidden_size",)),),
    layers=(Linear("proj", n=("2 * hidden/A",), k="hidden", split="column", over="A"),),
)
FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}


GOOD = """
from kregistry.hf_config.model_family import Family, Linear, Symbol
FAMILY = Family(
    name="toy",
    summary="one linear layer",
    architectures=("ToyForCausalLM",),
    symbols=(Symbol("hidden", ("hidden_size",)),),
    layers=(Linear("proj", n=("2 * hidden/A",), k="hidden", split="column", over="A"),),
)
"""


def test_third_party(install: Install) -> None:
    config = parse_config({"architectures": ["ToyForCausalLM"], "hidden_size": 256, "quantization_config": FP8})
    deployment = Deployment("sglang", get_target("h100"), tp=2)
    with pytest.raises(UnknownNameError):
        model_calls(config, deployment, Registry(), installed_families().families)
    install("toys", "1.0", GOOD, plugin="toy", group=ENTRY_POINT_GROUP, offers=":FAMILY")
    found = installed_families()
    assert found.broken == ()
    [site] = model_calls(config, deployment, Registry(), found.families).sites
    assert dict(site.shape) == {"n": 256, "k": 256}
    assert site.formula == "n = 2 * hidden/A = 2 * 256/2 = 256; k = hidden = 256"


BROKEN = {
    "import error": (
        "import nowhere_at_all",
        "cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'",
    ),
    "exit": ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
    "nothing of that name": ("x = 1", "cannot be imported: AttributeError: module 'bad_toys_module' has no attribute"),
    "no family": ("FAMILY = 'toy'", "an entry point of kregistry.model_families must name a Family object, got 'toy'"),
    "wrong formula": (GOOD.replace("2 * hidden/A", "hiden"), "family 'toy': the formula 'hiden' uses undeclared hiden"),
}


@pytest.mark.parametrize(("source", "cause"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_family_is_reported_and_the_rest_works(install: Install, source: str, cause: str) -> None:
    before = installed_families().families
    install("bad-toys", "0.3", source, plugin="bad", group=ENTRY_POINT_GROUP, offers=":FAMILY")
    found = installed_families()
    [error] = found.broken
    assert error.message.startswith(f"plugin bad (bad-toys 0.3): {cause}")
    assert found.families == before


def test_the_command_line_warns_of_a_broken_family(install: Install, kregistry: Callable[..., Result]) -> None:
    install("bad-toys", "0.3", "FAMILY = 'toy'", plugin="bad", group=ENTRY_POINT_GROUP, offers=":FAMILY")
    result = kregistry("init", "--config", "nothing.json", "--engine", "vllm")
    assert result.err.startswith("warning: plugin bad (bad-toys 0.3): an entry point of kregistry.model_families must")


def test_a_call_appears_once_a_plugin_provides_its_kernel_type() -> None:
    """The same family, before and after: named as missing, then planned."""
    family = evolve(TOY, layers=(*TOY.layers, Special("other", "toy_gemm", {"n": "hidden", "k": "hidden"})))
    config = parse_config({"architectures": ["ToyForCausalLM"], "hidden_size": 256, "quantization_config": FP8})
    deployment = Deployment("sglang", get_target("h100"))
    registry = Registry()

    def other() -> CallSite:
        return model_calls(config, deployment, registry, [family]).sites[1]

    assert other().verdict is LayerVerdict.NO_KERNEL_TYPE
    assert other().reason == "no installed plugin provides the kernel type toy_gemm"

    class ToyGemm(type(registry["fp8_gemm_nt"])):  # type: ignore[misc]
        name = "toy_gemm"

    class Provider:
        @hookimpl
        def kregistry_kernel_types(self) -> Iterable[KernelType]:
            return [ToyGemm()]

    registry.register(Provider())
    assert other().verdict is LayerVerdict.DEEP_GEMM
    assert other().reason == ""
    wrong = Special("other", "toy_gemm", {"n": "hidden", "kk": "hidden"})
    [site] = model_calls(config, deployment, registry, [evolve(family, layers=(wrong,))]).sites
    assert site.reason.startswith("the kernel type refuses this shape: toy_gemm.kk: unknown dimension")


def test_in_tree_families_come_through_entry_points(families: tuple[Family, ...]) -> None:
    names = [family.name for family in families]
    assert len(names) == len(set(names)) >= 10


def test_no_architecture_has_two_families(families: tuple[Family, ...]) -> None:
    architectures = [name for family in families for name in family.architectures]
    assert len(architectures) == len(set(architectures))


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (evolve(TOY, architectures=()), "at least one architecture"),
        (evolve(TOY, layers=(Linear("proj", n=("hiden",), k="hidden"),)), "uses undeclared hiden"),
        (evolve(TOY, layers=(Linear("proj", n=("hidden +",), k="hidden"),)), "malformed formula 'hidden +'"),
        (evolve(TOY, layers=(Special("x", "fp8_einsum", {"h": "heads"}),)), "uses undeclared heads"),
        (evolve(TOY, shared_experts="n_shared"), "uses undeclared n_shared"),
    ],
)
def test_wrong_declarations(family: Family, expected: str) -> None:
    assert expected in (declaration_fault(family) or "")
