"""Family: the layers of a family of models as data, with their sizes on one rank.

Sizes are formulas (:mod:`kregistry.hf_config.formula`) over two kinds of names: symbols of the family, which are read
from ``config.json``, and symbols of the engine's parallel layout (:data:`LAYOUT_SYMBOLS`). A family does not depend on
DeepGEMM or on engines: :mod:`kregistry.hf_config.engines` decides which layers become DeepGEMM calls.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from kregistry.errors import InputError
from kregistry.hf_config.formula import FormulaError, evaluate, names

#: Symbols of the engine's parallel layout in formulas -> their meaning.
LAYOUT_SYMBOLS: Mapping[str, str] = {
    "A": "ranks that share attention heads",
    "T": "ranks that share a dense MLP",
    "S": "ranks that share the shared expert",
    "ep": "ranks that the experts are spread over",
    "moe_tp": "ranks that share one expert",
    "fused": "shared experts that are fused into the routed ones",
    "redundant": "redundant experts of the expert load balancer",
    "sms": "SMs of the GPU",
    "verify": "tokens of a request that one decode step computes: 1 without speculation",
    "pp": "pipeline stages",
    "mega_tokens": "tokens that one rank's buffer of mega MoE holds: 0 without mega MoE",
    "mega_sms": "SMs that mega MoE uses",
    "mega_shared": "shared experts that mega MoE computes too",
}


class Tokens(enum.Enum):
    """The meaning of the rows of a layer's input, which decides the range of m."""

    STEP = "tokens of one step on this rank"
    GATHERED = "tokens of one step, gathered from all data-parallel ranks that share the layer"
    KV = "cached key-value tokens of a prefill chunk"
    REQUESTS = "requests of one decode step on this rank"
    VERIFIED = "tokens that the requests of one decode step compute on this rank"
    CAPTURED = "tokens of a decode step in a CUDA graph, where a second stream runs beside"
    MEGA = "tokens of one step on this rank, as many as its buffer of mega MoE holds"


@frozen
class Symbol:
    """A number of ``config.json``.

    Attributes:
        name: its name in formulas.
        keys: the keys that may hold it; the first one that is present is read. ``outer.inner`` is a key of an object.
        default: the value if no key is present; ``None`` if the config must have one.
        minimum: smallest allowed value.
        count: if given, the key holds a list of numbers, and the symbol counts this number in it (compression ratios).
        length: whether the key holds a list, or words with commas between them; the symbol is their number.
        flag: whether the key holds true or false; the symbol is then 1 or 0.
        whole_float: whether a float without a fraction is accepted, such as ``10.0``.
        null: a formula over earlier symbols: the value if the key is there and says ``null``. Empty: ``null`` means the
            same as no key.
    """

    name: str
    keys: tuple[str, ...]
    default: int | None = None
    minimum: int = 1
    count: int | None = None
    length: bool = False
    flag: bool = False
    whole_float: bool = False
    null: str = ""

    def meaning(self) -> str:
        """``"H = num_attention_heads"``."""
        key = self.keys[0] if self.count is None else f"times that {self.count} is in {self.keys[0]}"
        key = f"entries of {key}" if self.length else key
        return key if key == self.name else f"{self.name} = {key}"


@frozen
class Linear:
    """A linear layer.

    Attributes:
        label: the name of the layer in the model's code.
        n: output columns on one rank; several formulas for a fused layer, one for each part.
        k: input columns on one rank.
        split: how it is split; ``column`` splits n, ``row`` splits k.
        over: the layout symbol of the ranks that share it (``"A"``); empty for a replicated layer.
        part: the part of the model, as text.
        weights: the names of its weights in the checkpoint, below a layer, for ``modules_to_not_convert``.
        tokens: the meaning of m.
        m_factor: m is this many times the tokens (a formula).
        when: a formula; the layer exists if it is not 0.
        engines: the engines that have the layer; empty: all.
        archs: the GPU archs on which the layer exists, e.g. ``("sm90",)``; empty: all.
        block_rule: what parts of a weight that are not multiples of the quantisation block mean. ``checked``: the
            engine refuses to load them, as its rule says. ``unchecked``: the model's code turns the rule off.
            ``unquantized``: the checkpoint keeps such a layer in BF16, because no engine would load it otherwise.
        num_sms: a formula; the SMs that DeepGEMM may use during the call. Empty: all, or what the engine's options say.
        note: a text that is printed with the entry.
    """

    label: str
    n: tuple[str, ...]
    k: str
    split: Literal["replicated", "column", "row"] = "replicated"
    over: str = ""
    part: str = "attention"
    weights: tuple[str, ...] = ()
    tokens: Tokens = Tokens.STEP
    m_factor: str = "1"
    when: str = "1"
    engines: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()
    block_rule: Literal["checked", "unchecked", "unquantized"] = "checked"
    num_sms: str = ""
    note: str = ""

    @property
    def n_formula(self) -> str:
        """All parts as one formula; equal parts are written as a multiple."""
        counts: dict[str, int] = {}
        for part in self.n:
            counts[part] = counts.get(part, 0) + 1
        return " + ".join(part if count == 1 else f"{count} * {_in_brackets(part)}" for part, count in counts.items())


@frozen
class Experts:
    """The two grouped GEMMs of routed experts: w13 (gate and up) and w2 (down).

    Attributes:
        intermediate: columns of one expert's intermediate state on one rank (a formula).
        hidden: columns of the model's hidden state (a formula).
        groups: experts on one rank (a formula).
        top_k: experts that a token is sent to (a formula).
        count: routed experts of the model.
        weights: names in the checkpoint, below a layer.
        fp4: whether the checkpoint may hold FP4 experts (``expert_dtype``).
        when: a formula; the model has experts if it is not 0.
    """

    intermediate: str
    hidden: str
    count: str = "E"
    top_k: str = "top_k"
    groups: str = "(E + redundant)/ep + fused"
    weights: tuple[str, ...] = ("mlp.experts",)
    fp4: bool = False
    when: str = "1"


@frozen
class Special:
    """A call of another DeepGEMM kernel type; it is listed as left out if no plugin provides the kernel type.

    Attributes:
        kernel_type: its name.
        shape: dimension -> formula, or a name in quotes (``"'occupancy'"``) for a word, or a formula after ``?`` for a
            dimension that is left out if the formula gives 0.
        needs: a condition that the engines check in addition to ``when``: ``fp8_wo_a``, ``deepgemm_bmm``, ``megamoe``.
        start: the smallest m at which the engine makes the call (a threshold of the engine).
        engines, archs: as in :class:`Linear`.
    """

    label: str
    kernel_type: str
    shape: Mapping[str, str]
    part: str = "attention"
    tokens: Tokens = Tokens.STEP
    when: str = "1"
    engines: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()
    needs: str = ""
    start: int | None = None
    note: str = ""


@frozen
class Unquantized:
    """A matrix product that never goes to DeepGEMM; it is listed with its reason.

    Attributes:
        elsewhere: whether it is quantised, or no matrix product, and a kernel of the engine's own computes it.
    """

    label: str
    reason: str
    when: str = "1"
    engines: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()
    elsewhere: bool = False


Layer: TypeAlias = Linear | Experts | Special | Unquantized


@frozen
class Family:
    """Models that share their layers.

    Attributes:
        name: its name.
        summary: a description in one line.
        architectures: values of ``architectures`` in config.json.
        symbols: the numbers that are read from config.json.
        layers: the layers, in the order of the model's forward.
        shared_experts: shared experts of the model (a formula).
        shared_fusion: how sglang fuses shared experts into the routed ones by default. ``deepseek``: models of 256
            routed experts and one shared one, named in its rules. ``same size``: if both have the same size.
            SGLang's rules name architectures whose shared expert is always apart.
        fixed: key of config.json -> the values that the formulas assume; other values are refused.
        source: files of the engines from which the formulas were taken.
    """

    name: str
    summary: str
    architectures: tuple[str, ...]
    symbols: tuple[Symbol, ...]
    layers: tuple[Layer, ...]
    shared_experts: str = "0"
    shared_fusion: Literal["deepseek", "same size"] = "deepseek"
    fixed: Mapping[str, tuple[Any, ...]] = field(factory=dict)
    source: str = ""


#: In place of every symbol when a formula is tried; it has many divisors.
_ANY_NUMBER = 5040


def declaration_fault(family: Family) -> str | None:
    """The first fault in the declaration of a family; ``None`` if there is none."""
    if not family.architectures or not family.layers:
        return f"family {family.name!r} must name at least one architecture and one layer"
    known = {symbol.name for symbol in family.symbols} | set(LAYOUT_SYMBOLS)
    formulas = [formula for layer in family.layers for formula in _formulas(layer)]
    nulls = [symbol.null for symbol in family.symbols if symbol.null]
    for formula in (*formulas, *nulls, family.shared_experts):
        try:
            unknown = names(formula) - known
        except InputError as error:
            return f"family {family.name!r}: {error.text}"
        if unknown:
            return f"family {family.name!r}: the formula {formula!r} uses undeclared {', '.join(sorted(unknown))}"
        try:
            evaluate(formula, dict.fromkeys(known, _ANY_NUMBER))
        except FormulaError:
            pass  # these numbers cannot be divided; others may
        except Exception as error:  # an operator or function that formulas do not have
            text = error.text if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            return f"family {family.name!r}: the formula {formula!r} cannot be evaluated: {text}"
    return None


def _formulas(layer: Layer) -> tuple[str, ...]:
    match layer:
        case Linear():
            optional = (*((layer.over,) if layer.over else ()), *((layer.num_sms,) if layer.num_sms else ()))
            return (*layer.n, layer.k, layer.m_factor, layer.when, *optional)
        case Experts():
            return (layer.intermediate, layer.hidden, layer.groups, layer.top_k, layer.count, layer.when)
        case Special():
            return (*(text.lstrip("?") for text in layer.shape.values() if not is_word(text)), layer.when)
        case Unquantized():
            return (layer.when,)


def is_word(text: str) -> bool:
    """Whether a dimension of a :class:`Special` is a name in quotes and not a formula."""
    return text.startswith("'")


def _in_brackets(formula: str) -> str:
    return f"({formula})" if any(sign in formula for sign in "+-/% ") else formula
