"""The call sites of a family's layers: sizes from the formulas, verdicts and ranges from the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import evolve, frozen

from kregistry.errors import count_of
from kregistry.hf_config.call_site import CallSite, LayerVerdict, Rows
from kregistry.hf_config.config import ModelConfig
from kregistry.hf_config.engines import Engine
from kregistry.hf_config.engines.decision import Decision
from kregistry.hf_config.engines.engine import MoeShape
from kregistry.hf_config.formula import FormulaError, evaluate
from kregistry.hf_config.model_family import Experts, Family, Layer, Linear, Special, Unquantized, is_word
from kregistry.hf_config.written_sizes import WrittenSizes
from kregistry.kernel_type import Value

#: The rule of a call that an option of the engine leaves fewer SMs.
FEWER_SMS = "num_sms"
_GROUPED = {
    "fp8": "m_grouped_fp8_gemm_nt_{}",
    "bf16": "m_grouped_bf16_gemm_nt_{}",
    "fp4": "m_grouped_fp8_fp4_gemm_nt_{}",
}


@frozen
class LayerSites:
    """Makes the call sites of one model at one setting.

    Attributes:
        family: the layers.
        config: the model.
        engine: the engine's rules for the model and the setting.
        sizes: the numbers of the formulas.
    """

    family: Family
    config: ModelConfig
    engine: Engine
    sizes: WrittenSizes

    def sites(self) -> Iterator[CallSite]:
        """One call site, or several, for each layer that the engine computes with these options."""
        arch = self.engine.deployment.target.arch
        for layer in self.family.layers:
            engines = () if isinstance(layer, Experts) else layer.engines
            archs = () if isinstance(layer, Experts) else layer.archs
            if (engines and self.engine.name not in engines) or (archs and arch not in archs):
                continue
            if evaluate(layer.when, self.sizes.values):
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
                verdict = LayerVerdict.OTHER_BACKEND if layer.elsewhere else LayerVerdict.NOT_QUANTIZED
                rule = "backend" if layer.elsewhere else "bf16"
                yield CallSite(layer.label, "", "", {}, "", verdict, layer.reason, rule=rule)

    def _limited(self, site: CallSite, layer: Linear | Experts | Special, kind: str = "") -> Iterator[CallSite]:
        """A call, and its forms with fewer SMs."""
        yield site
        if site.verdict is not LayerVerdict.DEEP_GEMM or "num_sms" in site.shape:
            return
        for limit in self.engine.sm_limits(layer, kind):
            yield evolve(
                site,
                label=f"{site.label}, {limit.label}",
                shape={**site.shape, "num_sms": limit.num_sms},
                formula=f"{site.formula}; num_sms = {limit.num_sms}",
                reason=limit.rule,
                rule=FEWER_SMS,
            )

    # ---- the kinds of layers ---------------------------------------------------------------------------------

    def _linear(self, layer: Linear) -> CallSite:
        ways = self.sizes.values[layer.over] if layer.over else 1
        role = _role(layer, ways)
        try:
            parts = tuple(self.sizes.size(part) for part in layer.n)
            k = self.sizes.size(layer.k)
            factor = self.sizes.size(layer.m_factor)
            num_sms = {"num_sms": self.sizes.size(layer.num_sms)} if layer.num_sms else {}
        except FormulaError as error:
            return self._indivisible(layer.label, role, "fp8_gemm_nt", error)
        n = sum(parts)
        written = {"n": layer.n_formula, "k": layer.k}
        formula = self.sizes.written({**written, "num_sms": layer.num_sms} if layer.num_sms else written)
        if layer.over == "S" and self.engine.layout.fused:
            decision = Decision(LayerVerdict.FUSED, "computed as a routed expert (shared-expert fusion)", "fused")
        elif layer.over == "S" and self.engine.layout.mega_shared:
            decision = Decision(LayerVerdict.FUSED, "computed by mega MoE, in one launch", "megamoe")
        else:
            decision = self.engine.linear_decision(layer, n, k, parts, ways)
        rows = self.engine.linear_rows(layer, factor)
        kernel_type = "fp8_gemm_nt"
        if decision.verdict is LayerVerdict.DEEP_GEMM:
            chosen = self.engine.dense_kernel_type(layer, n, k)
            assert isinstance(chosen, str), "a layer that goes to DeepGEMM has a kernel type"
            kernel_type = chosen
        shape = {"n": n, "k": k, **num_sms}
        return _site(layer.label, role, kernel_type, shape, formula, decision, rows, layer.note)

    def _experts(self, layer: Experts) -> Iterator[CallSite]:
        ep, moe_tp = self.sizes.values["ep"], self.sizes.values["moe_tp"]
        cut = f"each cut over {moe_tp} ranks" if moe_tp > 1 else "each whole on one rank"
        role = f"routed experts, spread over {count_of(ep, 'rank')}, {cut}"
        try:
            intermediate = self.sizes.size(layer.intermediate)
            moe = MoeShape(
                self.engine.padded_intermediate(intermediate, 128),
                self.sizes.size(layer.hidden),
                self.sizes.size(layer.groups),
                self.sizes.size(layer.count) + self.engine.layout.fused,
                self.sizes.size(layer.top_k) + self.engine.layout.fused,
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
        for kind in kinds if decision.verdict is LayerVerdict.DEEP_GEMM else kinds[:1]:
            for label, sizes in (
                ("w13", {"n": f"2 * ({inner})", "k": layer.hidden}),
                ("w2", {"n": layer.hidden, "k": inner}),
            ):
                formulas = {"num_groups": layer.groups, **sizes}
                shape: dict[str, Value] = {name: self.sizes.size(text) for name, text in formulas.items()}
                settings = self.engine.expert_settings(kind) if decision.verdict is LayerVerdict.DEEP_GEMM else {}
                shape |= settings
                rows = self.engine.expert_rows(kind, moe)
                phase = f" ({kind})" if decision.verdict is LayerVerdict.DEEP_GEMM else ""
                kernel_type = _GROUPED[number].format(kind)
                written = "; ".join(
                    (self.sizes.written(formulas), *(f"{name} = {on}" for name, on in settings.items()))
                )
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
                    shape[name], written[name] = self.sizes.size(text), text
                elif evaluate(text[1:], self.sizes.values):
                    shape[name], written[name] = self.sizes.size(text[1:]), text[1:]
        except FormulaError as error:
            return self._indivisible(layer.label, layer.part, layer.kernel_type, error)
        decision = self.engine.special_decision(layer)
        rows = self.engine.linear_rows(layer, 1)
        if decision.verdict is LayerVerdict.DEEP_GEMM and layer.start is not None:
            if rows.stop < layer.start:
                reason = f"it takes {layer.start} rows at least, and a step has {rows.stop} at most ({rows.rule})"
                decision = Decision(LayerVerdict.NOT_REACHED, reason, "threshold")
            rows = evolve(rows, start=layer.start, rule=f"from {layer.start} rows on; {rows.rule}")
        formula = "; ".join(filter(None, (self.sizes.written(written), *words.values())))
        return _site(layer.label, layer.part, layer.kernel_type, shape, formula, decision, rows, layer.note)

    def _number_format(self, layer: Experts) -> str:
        quantization = self.config.quantization.of(layer.weights)
        if not quantization.quantized or quantization.skips(layer.weights):
            return "bf16"
        return "fp4" if layer.fp4 and self.config.values.get("expert_dtype") == "fp4" else "fp8"

    def _indivisible(self, label: str, role: str, kernel_type: str, error: FormulaError) -> CallSite:
        reason = f"{self.engine.name} cannot split it: {error.text}"
        return CallSite(label, role, kernel_type, {}, "", LayerVerdict.DOES_NOT_LOAD, reason, rule="division")


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
