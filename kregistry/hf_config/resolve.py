"""Combines a family, a config and a setting into the call sites of the model, each with the engine's verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import evolve, field, frozen

from kregistry.errors import InputError, ShapeError, UnknownArchitectureError
from kregistry.hf_config.architectures import reason_of
from kregistry.hf_config.call_site import CallSite, Rows, Verdict
from kregistry.hf_config.config import ModelConfig
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.engines import Engine, get_engine
from kregistry.hf_config.engines.engine import Decision, MoeShape
from kregistry.hf_config.formula import FormulaError, evaluate, names, substitute
from kregistry.hf_config.model_family import (
    LAYOUT_SYMBOLS,
    Experts,
    Family,
    Layer,
    Linear,
    Special,
    Unquantized,
    is_word,
)
from kregistry.kernel_type import Value
from kregistry.registry import Registry

#: The rule of a call that an option of the engine leaves fewer SMs.
_FEWER_SMS = "num_sms"
_GROUPED = {
    "fp8": "m_grouped_fp8_gemm_nt_{}",
    "bf16": "m_grouped_bf16_gemm_nt_{}",
    "fp4": "m_grouped_fp8_fp4_gemm_nt_{}",
}


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

    def with_verdict(self, verdict: Verdict) -> tuple[CallSite, ...]:
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
    sites = tuple(_Resolver(family, config, engine, values).sites())
    every = (*sites, *engine.loads(sites))
    known = tuple(
        _with_kernel_type(site, registry, deployment) for site in every if not _same_with_fewer_sms(site, registry)
    )
    return ModelCalls(family, config, deployment, engine, values, known)


def _same_with_fewer_sms(site: CallSite, registry: Registry) -> bool:
    """Whether a form with fewer SMs has the kernels of the plain call, as those of tf32_hc_prenorm_gemm do."""
    if site.rule != _FEWER_SMS or site.kernel_type not in registry.names():
        return False
    return all(setting.name != "num_sms" for setting in registry[site.kernel_type].settings)


def _with_kernel_type(site: CallSite, registry: Registry, deployment: Deployment) -> CallSite:
    """The same site, or one with the reason why no installed kernel type can describe it."""
    if site.verdict is not Verdict.DEEP_GEMM:
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
    return evolve(site, verdict=Verdict.NO_KERNEL_TYPE, reason=reason, rule="plugin") if reason else site


@frozen
class _Resolver:
    family: Family
    config: ModelConfig
    engine: Engine
    values: Mapping[str, int]

    def sites(self) -> Iterator[CallSite]:
        arch = self.engine.deployment.target.arch
        for layer in self.family.layers:
            engines = () if isinstance(layer, Experts) else layer.engines
            archs = () if isinstance(layer, Experts) else layer.archs
            if (engines and self.engine.name not in engines) or (archs and arch not in archs):
                continue
            if evaluate(layer.when, self.values):
                yield from self._sites(layer)

    def _sites(self, layer: Layer) -> Iterator[CallSite]:
        match layer:
            case Linear():
                yield from self._limited(self._linear(layer), layer)
            case Experts():
                yield from self._experts(layer)
            case Special():
                yield from self._limited(self._special(layer), layer)
            case Unquantized():
                verdict = Verdict.OTHER_BACKEND if layer.elsewhere else Verdict.NOT_QUANTIZED
                rule = "backend" if layer.elsewhere else "bf16"
                yield CallSite(layer.label, "", "", {}, "", verdict, layer.reason, rule=rule)

    def _limited(self, site: CallSite, layer: Linear | Experts | Special, kind: str = "") -> Iterator[CallSite]:
        """A call, and its forms with fewer SMs."""
        yield site
        if site.verdict is not Verdict.DEEP_GEMM or "num_sms" in site.shape:
            return
        for limit in self.engine.sm_limits(layer, kind):
            yield evolve(
                site,
                label=f"{site.label}, {limit.label}",
                shape={**site.shape, "num_sms": limit.num_sms},
                formula=f"{site.formula}; num_sms = {limit.num_sms}",
                reason=limit.rule,
                rule=_FEWER_SMS,
            )

    # ---- the kinds of layers ---------------------------------------------------------------------------------

    def _linear(self, layer: Linear) -> CallSite:
        ways = self.values[layer.over] if layer.over else 1
        role = _role(layer, ways)
        try:
            parts = tuple(self._size(part) for part in layer.n)
            k = self._size(layer.k)
            factor = self._size(layer.m_factor)
            num_sms = {"num_sms": self._size(layer.num_sms)} if layer.num_sms else {}
        except FormulaError as error:
            return self._indivisible(layer.label, role, "fp8_gemm_nt", error)
        n = sum(parts)
        written = {"n": layer.n_formula, "k": layer.k}
        formula = self._written({**written, "num_sms": layer.num_sms} if layer.num_sms else written)
        if layer.over == "S" and self.engine.layout.fused:
            decision = Decision(Verdict.FUSED, "computed as a routed expert (shared-expert fusion)", "fused")
        elif layer.over == "S" and self.engine.layout.mega_shared:
            decision = Decision(Verdict.FUSED, "computed by mega MoE, in one launch", "megamoe")
        else:
            decision = self.engine.linear_decision(layer, n, k, parts, ways)
        rows = self.engine.linear_rows(layer, factor)
        kernel_type = "fp8_gemm_nt"
        if decision.verdict is Verdict.DEEP_GEMM:
            chosen = self.engine.dense_kernel_type(layer, n, k)
            assert isinstance(chosen, str), "a layer that goes to DeepGEMM has a kernel type"
            kernel_type = chosen
        shape = {"n": n, "k": k, **num_sms}
        return _site(layer.label, role, kernel_type, shape, formula, decision, rows, layer.note)

    def _experts(self, layer: Experts) -> Iterator[CallSite]:
        cut = f"each cut over {self.values['moe_tp']} ranks" if self.values["moe_tp"] > 1 else "each whole on one rank"
        role = f"routed experts, spread over {self.values['ep']} ranks, {cut}"
        try:
            intermediate = self._size(layer.intermediate)
            moe = MoeShape(
                self.engine.padded_intermediate(intermediate, 128),
                self._size(layer.hidden),
                self._size(layer.groups),
                self._size(layer.count) + self.engine.layout.fused,
                self._size(layer.top_k) + self.engine.layout.fused,
            )
        except FormulaError as error:
            yield self._indivisible("experts w13", role, _GROUPED["fp8"].format("contiguous"), error)
            return
        decision = self.engine.experts_decision(moe, layer)
        number = self._number_format(layer)
        yield from self._grouped(layer, moe, moe.intermediate - intermediate, decision, role, "experts", number)
        if self.config.quantization.draft_in_bf16 and self.engine.layout.verify > 1:
            draft = self.engine.bf16_experts_decision()
            yield from self._grouped(layer, moe, 0, draft, f"{role}, of the draft layer", "draft experts", "bf16")

    def _grouped(
        self, layer: Experts, moe: MoeShape, padding: int, decision: Decision, role: str, name: str, number: str
    ) -> Iterator[CallSite]:
        """The two grouped products of experts, in each layout that the engine uses."""
        kinds = self.engine.expert_kernel_types()
        inner = f"{layer.intermediate} + {padding}" if padding else layer.intermediate
        for kind in kinds if decision.verdict is Verdict.DEEP_GEMM else kinds[:1]:
            for label, sizes in (
                ("w13", {"n": f"2 * ({inner})", "k": layer.hidden}),
                ("w2", {"n": layer.hidden, "k": inner}),
            ):
                formulas = {"num_groups": layer.groups, **sizes}
                shape: dict[str, Value] = {name: self._size(text) for name, text in formulas.items()}
                settings = self.engine.expert_settings(kind) if decision.verdict is Verdict.DEEP_GEMM else {}
                shape |= settings
                rows = self.engine.expert_rows(kind, moe)
                phase = f" ({kind})" if decision.verdict is Verdict.DEEP_GEMM else ""
                kernel_type = _GROUPED[number].format(kind)
                written = "; ".join((self._written(formulas), *(f"{name} = {on}" for name, on in settings.items())))
                note = "padded to whole blocks" if padding else ""
                site = _site(f"{name} {label}{phase}", role, kernel_type, shape, written, decision, rows, note)
                yield from self._limited(site, layer, kind)

    def _special(self, layer: Special) -> CallSite:
        shape: dict[str, Value] = {}
        written: dict[str, str] = {}
        words: dict[str, str] = {}
        try:
            for name, text in layer.shape.items():
                if is_word(text):
                    shape[name] = _word(text)
                    words[name] = f"{name} = {shape[name]}"
                elif not text.startswith("?"):
                    shape[name], written[name] = self._size(text), text
                elif evaluate(text[1:], self.values):
                    shape[name], written[name] = self._size(text[1:]), text[1:]
        except FormulaError as error:
            return self._indivisible(layer.label, layer.part, layer.kernel_type, error)
        decision = self.engine.special_decision(layer)
        rows = self.engine.linear_rows(layer, 1)
        if decision.verdict is Verdict.DEEP_GEMM and layer.start is not None:
            if rows.stop < layer.start:
                reason = f"it takes {layer.start} rows at least, and a step has {rows.stop} at most ({rows.rule})"
                decision = Decision(Verdict.NOT_REACHED, reason, "threshold")
            rows = evolve(rows, start=layer.start, rule=f"from {layer.start} rows on; {rows.rule}")
        formula = "; ".join(filter(None, (self._written(written), *words.values())))
        return _site(layer.label, layer.part, layer.kernel_type, shape, formula, decision, rows, layer.note)

    # ---- numbers and words -----------------------------------------------------------------------------------

    def _number_format(self, layer: Experts) -> str:
        quantization = self.config.quantization.of(layer.weights)
        if not quantization.quantized or quantization.skips(layer.weights):
            return "bf16"
        return "fp4" if layer.fp4 and self.config.values.get("expert_dtype") == "fp4" else "fp8"

    def _size(self, formula: str) -> int:
        """
        Raises:
            FormulaError: there is no value; the text has the formula, its numbers and the meaning of its names.
        """
        try:
            value = evaluate(formula, self.values)
        except FormulaError as error:
            raise FormulaError(f"{error.text} ({self._legend(error.hint or formula)})") from error
        if value < 1:
            raise FormulaError(f"{formula} = {value}, expected at least 1 ({self._legend(formula)})")
        return value

    def _legend(self, formula: str) -> str:
        meanings = {name: f"{name} = {text}" for name, text in LAYOUT_SYMBOLS.items()}
        meanings.update({symbol.name: symbol.meaning() for symbol in self.family.symbols})
        return ", ".join(f"{meanings[name]} = {self.values[name]}" for name in self.values if name in names(formula))

    def _written(self, formulas: Mapping[str, str]) -> str:
        """``"n = H/A * hd = 64/8 * 128 = 1024; k = ..."``."""
        parts: list[str] = []
        for name, formula in formulas.items():
            steps = dict.fromkeys((formula, substitute(formula, self.values), str(evaluate(formula, self.values))))
            parts.append(" = ".join((name, *steps)))
        return "; ".join(parts)

    def _indivisible(self, label: str, role: str, kernel_type: str, error: FormulaError) -> CallSite:
        reason = f"{self.engine.name} cannot split it: {error.text}"
        return CallSite(label, role, kernel_type, {}, "", Verdict.DOES_NOT_LOAD, reason, rule="division")


def _word(text: str) -> Value:
    """A word of a :class:`Special`: ``"'true'"`` is the flag."""
    word = text.strip("'")
    return {"true": True, "false": False}.get(word, word)


def _role(layer: Linear, ways: int) -> str:
    cut = f"{layer.split} parallel over {ways} ranks" if layer.over and ways > 1 else "whole on every rank"
    return f"{layer.part}, {cut}"


def _site(
    label: str,
    role: str,
    kernel_type: str,
    shape: Mapping[str, Value],
    formula: str,
    decision: Decision,
    rows: Rows,
    note: str,
) -> CallSite:
    return CallSite(
        label, role, kernel_type, shape, formula, decision.verdict, decision.reason or note, rows, decision.rule
    )


__all__ = ["ModelCalls", "find_family", "model_calls"]
