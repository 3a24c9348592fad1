"""Layers that many families share: grouped-query attention, the dense MLP and the shared expert."""

from __future__ import annotations

from kregistry.hf_config.model_family import Linear, Special, Symbol, Tokens

#: Symbols of grouped-query attention. head_dim is required, because these models do not use hidden / heads; where it is
#: null, the engines do.
GQA_SYMBOLS = (
    Symbol("hidden", ("hidden_size",)),
    Symbol("H", ("num_attention_heads",)),
    Symbol("KV", ("num_key_value_heads",), null="H"),
    Symbol("hd", ("head_dim",), null="hidden / H"),
)

_EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts")

QKV = Linear(
    "qkv_proj",
    n=("H/A * hd", "kv_heads(KV, A) * hd", "kv_heads(KV, A) * hd"),
    k="hidden",
    split="column",
    over="A",
    weights=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
)
O_PROJ = Linear(
    "o_proj",
    n=("hidden",),
    k="H/A * hd",
    split="row",
    over="A",
    weights=("self_attn.o_proj",),
)


def experts_symbol(key: str) -> Symbol:
    """The number of routed experts; transformers may write it under another key than the model's own."""
    return Symbol("E", (key, *(other for other in _EXPERTS if other != key)))


def mlp(
    name: str,
    intermediate: str,
    over: str,
    when: str,
    weights: str,
) -> tuple[Linear, Linear]:
    """A gated MLP that is split over the ranks of the layout symbol ``over``.

    Args:
        name: ``"dense"`` or ``"shared expert"``, the first word of the labels.
        intermediate: formula of the intermediate size before it is split.
        over: ``"T"`` or ``"S"``.
        when: formula; whether the model has it.
        weights: the module that holds it in the checkpoint, below a layer.
    """
    part = intermediate if intermediate.isidentifier() else f"({intermediate})"
    share = f"{part}/{over}"
    gate_up = Linear(
        f"{name} gate_up_proj",
        n=(share, share),
        k="hidden",
        split="column",
        over=over,
        part=f"{name} MLP",
        weights=(f"{weights}.gate_proj", f"{weights}.up_proj"),
        tokens=Tokens.GATHERED,
        when=when,
    )
    down = Linear(
        f"{name} down_proj",
        n=("hidden",),
        k=share,
        split="row",
        over=over,
        part=f"{name} MLP",
        weights=(f"{weights}.down_proj",),
        tokens=Tokens.GATHERED,
        when=when,
    )
    return gate_up, down


#: The dimensions of a whole MoE layer in one launch.
MEGA_MOE = {
    "num_experts": "E + redundant",
    "top_k": "top_k",
    "hidden": "hidden",
    "intermediate": "moe_inter",
    "max_tokens": "mega_tokens",
    "num_ranks": "ep",
    "num_sms": "mega_sms",
}


def hopper_mega_moe(clamp: str = "") -> tuple[Special, Special]:
    """SGLang's mega MoE on Hopper, of FP8 experts, and the kernel that quantises its tokens.

    Source: layers/moe/mega_moe_sm90.py.

    Args:
        clamp: formula of the bound in SwiGLU, for models that have one.
    """
    launch = Special(
        "mega MoE",
        "fp8_mega_moe",
        {**MEGA_MOE, "activation_clamp": clamp} if clamp else MEGA_MOE,
        part="routed experts",
        tokens=Tokens.MEGA,
        when="mega_tokens > 0",
        needs="megamoe",
        engines=("sglang",),
        archs=("sm90",),
    )
    pre_dispatch = Special(
        "mega MoE pre-dispatch",
        "mega_moe_pre_dispatch_sm90",
        {"hidden": "hidden", "top_k": "top_k"},
        part="routed experts",
        tokens=Tokens.MEGA,
        when="mega_tokens > 0",
        needs="megamoe",
        engines=("sglang",),
        archs=("sm90",),
    )
    return launch, pre_dispatch
