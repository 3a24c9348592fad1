"""Combines a family, a config and a setting into the call sites of the model, each with the engine's verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from kregistry.errors import InputError, ShapeError, UnknownArchitectureError
from kregistry.hf_config.architectures import reason_of
from kregistry.hf_config.call_site import CallSite, LayerVerdict
from kregistry.hf_config.config import ModelConfig
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.engines import Engine, get_engine
from kregistry.hf_config.formula import evaluate
from kregistry.hf_config.layer_sites import FEWER_SMS, LayerSites
from kregistry.hf_config.model_family import Experts, Family
from kregistry.hf_config.written_sizes import WrittenSizes
from kregistry.registry import Registry


@frozen
class ModelCalls:
    """Every layer of a model at one setting.

    Attributes:
        family: the family of the model.
        config: the model.
        deployment: the setting.
        engine: the engine's rules for both.
        values: the number of every symbol that formulas use.
        sites: the layers, in the order of the model's forward.
    """

    family: Family
    config: ModelConfig
    deployment: Deployment
    engine: Engine = field(eq=False)
    values: Mapping[str, int]
    sites: tuple[CallSite, ...]

    def with_verdict(self, verdict: LayerVerdict) -> tuple[CallSite, ...]:
        return tuple(site for site in self.sites if site.verdict is verdict)


def find_family(architecture: str, families: Iterable[Family]) -> Family:
    """
    Raises:
        UnknownArchitectureError: no family has the architecture; the message lists the known ones.
        InputError: two families claim it.
    """
    known: dict[str, list[Family]] = {}
    for family in families:
        for name in family.architectures:
            known.setdefault(name, []).append(family)
    match known.get(architecture):
        case None:
            raise UnknownArchitectureError("architecture", architecture, tuple(known), reason=reason_of(architecture))
        case [family]:
            return family
        case several:
            names_ = " and ".join(repr(family.name) for family in several)
            raise InputError(
                f"families {names_} both claim the architecture {architecture}",
                "uninstall one of the distributions that offer them",
            )


def model_calls(
    config: ModelConfig, deployment: Deployment, registry: Registry, families: Iterable[Family]
) -> ModelCalls:
    """All DeepGEMM calls of a model at one setting, and the reasons why other layers make none.

    Args:
        config: the model.
        deployment: the setting.
        registry: the kernel types that calls may have.
        families: the families, one of which has the model's architecture; see
            :func:`~kregistry.hf_config.installed_families.installed_families`.

    Raises:
        UnknownNameError: unknown engine.
        UnknownArchitectureError: no family has the architecture.
        InputError: the config or the setting is wrong, or they do not match.
    """
    family = find_family(config.architecture, families)
    symbols = config.symbols(family)
    experts = sum(
        evaluate(layer.count, symbols)
        for layer in family.layers
        if isinstance(layer, Experts) and evaluate(layer.when, symbols)
    )
    shared = evaluate(family.shared_experts, symbols)
    engine = get_engine(deployment.engine)(deployment, config, experts, shared, family.shared_fusion)
    values = {**symbols, **engine.layout.symbols()}
    sites = tuple(LayerSites(family, config, engine, WrittenSizes(family, values)).sites())
    every = (*sites, *engine.loads(sites))
    known = tuple(
        _with_kernel_type(site, registry, deployment) for site in every if not _same_with_fewer_sms(site, registry)
    )
    return ModelCalls(family, config, deployment, engine, values, known)


def _same_with_fewer_sms(site: CallSite, registry: Registry) -> bool:
    """Whether a form with fewer SMs has the kernels of the plain call, as those of tf32_hc_prenorm_gemm do."""
    if site.rule != FEWER_SMS or site.kernel_type not in registry.names():
        return False
    return all(setting.name != "num_sms" for setting in registry[site.kernel_type].settings)


def _with_kernel_type(site: CallSite, registry: Registry, deployment: Deployment) -> CallSite:
    """The same site, or one with the reason why no installed kernel type can describe it."""
    if site.verdict is not LayerVerdict.DEEP_GEMM:
        return site
    reason = ""
    if site.kernel_type not in registry.names():
        reason = f"no installed plugin provides the kernel type {site.kernel_type}"
    else:
        kernel_type = registry[site.kernel_type]
        archs = [support.arch for support in kernel_type.archs if support.deep_gemm != "none"]
        if deployment.target.arch not in archs:
            reason = f"{site.kernel_type} does not support {deployment.target.arch}"
        else:
            try:
                kernel_type.resolve(site.shape, deployment.target)
            except ShapeError as error:
                reason = f"the kernel type refuses this shape: {error.message}"
    return evolve(site, verdict=LayerVerdict.NO_KERNEL_TYPE, reason=reason, rule="plugin") if reason else site
