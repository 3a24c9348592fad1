"""Families come from plugins, and a wrong one is reported instead of giving wrong shapes."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace

import pytest
from attrs import evolve

from kregistry import KernelType, Registry, get_target, hookimpl
from kregistry.errors import PluginError, UnknownNameError
from kregistry.hf_config.call_site import CallSite, Verdict
from kregistry.hf_config.config import parse_config
from kregistry.hf_config.deployment import Deployment
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


class ToyPlugin:
    """What a third party writes."""

    def __init__(self, *families: object) -> None:
        self.families = families

    @hookimpl
    def kregistry_model_families(self) -> Iterable[object]:
        return self.families


def test_third_party() -> None:
    registry = Registry()
    config = parse_config({"architectures": ["ToyForCausalLM"], "hidden_size": 256, "quantization_config": FP8})
    deployment = Deployment("sglang", get_target("h100"), tp=2)
    with pytest.raises(UnknownNameError):
        model_calls(config, deployment, registry)
    registry.register(ToyPlugin(TOY))
    [site] = model_calls(config, deployment, registry).sites
    assert dict(site.shape) == {"n": 256, "k": 256}
    assert site.formula == "n = 2 * hidden/A = 2 * 256/2 = 256; k = hidden = 256"


def test_a_call_appears_once_a_plugin_provides_its_kernel_type() -> None:
    """The same family, before and after: named as missing, then planned."""
    family = evolve(TOY, layers=(*TOY.layers, Special("other", "toy_gemm", {"n": "hidden", "k": "hidden"})))
    config = parse_config({"architectures": ["ToyForCausalLM"], "hidden_size": 256, "quantization_config": FP8})
    deployment = Deployment("sglang", get_target("h100"))
    registry = Registry()
    registry.register(ToyPlugin(family))

    def other() -> CallSite:
        return model_calls(config, deployment, registry).sites[1]

    assert other().verdict is Verdict.NO_KERNEL_TYPE
    assert other().reason == "no installed plugin provides the kernel type toy_gemm"

    class ToyGemm(type(registry["fp8_gemm_nt"])):  # type: ignore[misc]
        name = "toy_gemm"

    class Provider:
        @hookimpl
        def kregistry_kernel_types(self) -> Iterable[KernelType]:
            return [ToyGemm()]

    registry.register(Provider())
    assert other().verdict is Verdict.DEEP_GEMM
    assert other().reason == ""
    wrong = Special("other", "toy_gemm", {"n": "hidden", "kk": "hidden"})
    registry.register(ToyPlugin(evolve(family, architectures=("WrongForCausalLM",), layers=(wrong,))), "wrong")
    wrong_config = evolve(config, architecture="WrongForCausalLM")
    [site] = model_calls(wrong_config, deployment, registry).sites
    assert site.reason.startswith("the kernel type does not take this shape: toy_gemm.kk: unknown dimension")


def test_in_tree_families_come_through_the_entry_point() -> None:
    assert Registry(load_entry_points=False).model_families() == ()
    names = [family.name for family in Registry().model_families()]
    assert len(names) == len(set(names)) >= 10


def test_no_architecture_has_two_families() -> None:
    architectures = [name for family in Registry().model_families() for name in family.architectures]
    assert len(architectures) == len(set(architectures))


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (SimpleNamespace(name="no family"), "must return Family objects"),
        (evolve(TOY, architectures=()), "at least one architecture"),
        (evolve(TOY, layers=(Linear("proj", n=("hiden",), k="hidden"),)), "uses undeclared hiden"),
        (evolve(TOY, layers=(Linear("proj", n=("hidden +",), k="hidden"),)), "malformed formula 'hidden +'"),
        (evolve(TOY, layers=(Special("x", "fp8_einsum", {"h": "heads"}),)), "uses undeclared heads"),
        (evolve(TOY, shared_experts="n_shared"), "uses undeclared n_shared"),
    ],
)
def test_wrong_declarations(family: object, expected: str) -> None:
    assert expected in (declaration_fault(family) or "")
    registry = Registry(load_entry_points=False)
    with pytest.raises(PluginError, match=r"kregistry_model_families|family .toy."):
        registry.register(ToyPlugin(family))
    assert registry.model_families() == ()


def test_a_hook_that_raises() -> None:
    class Broken:
        @hookimpl
        def kregistry_model_families(self) -> Iterable[Family]:
            raise RuntimeError("no such file")

    with pytest.raises(PluginError, match=r"kregistry_model_families\(\) failed: RuntimeError: no such file"):
        Registry(load_entry_points=False).register(Broken())
