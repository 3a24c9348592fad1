"""Multi-head latent attention: DeepSeek-V3/R1/V3.1/V3.2, Kimi-K2, GLM-5."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import experts_symbol, hopper_mega_moe, mlp
from kregistry.hf_config.families.indexer import sglang_dsa, vllm
from kregistry.hf_config.model_family import Experts, Family, Layer, Linear, Special, Symbol, Tokens, Unquantized

ATTENTION_SYMBOLS = (
    Symbol("hidden", ("hidden_size",)),
    Symbol("H", ("num_attention_heads",)),
    Symbol("q_lora", ("q_lora_rank",), null="0"),
    Symbol("kv_lora", ("kv_lora_rank",)),
    Symbol("qk_nope", ("qk_nope_head_dim",)),
    Symbol("qk_rope", ("qk_rope_head_dim",)),
    Symbol("v_head", ("v_head_dim",)),
)

ATTENTION: tuple[Layer, ...] = (
    Linear(
        "fused_qkv_a_proj",
        n=("q_lora", "kv_lora + qk_rope"),
        k="hidden",
        weights=("self_attn.q_a_proj", "self_attn.kv_a_proj_with_mqa"),
        when="q_lora > 0",
    ),
    Linear(
        "q_b_proj",
        n=("H/A * (qk_nope + qk_rope)",),
        k="q_lora",
        split="column",
        over="A",
        weights=("self_attn.q_b_proj",),
        when="q_lora > 0",
    ),
    # Models whose queries have no low rank (q_lora_rank null), such as DeepSeek-V2-Lite.
    Linear(
        "q_proj",
        n=("H/A * (qk_nope + qk_rope)",),
        k="hidden",
        split="column",
        over="A",
        weights=("self_attn.q_proj",),
        when="q_lora == 0",
    ),
    Linear(
        "kv_a_proj_with_mqa",
        n=("kv_lora + qk_rope",),
        k="hidden",
        weights=("self_attn.kv_a_proj_with_mqa",),
        when="q_lora == 0",
    ),
    Linear(
        "kv_b_proj",
        n=("H/A * (qk_nope + v_head)",),
        k="kv_lora",
        split="column",
        over="A",
        weights=("self_attn.kv_b_proj",),
        tokens=Tokens.KV,
        note="only where prefill runs as multi-head attention: without a prefix, or with one of 8,192 tokens in all; m "
        "counts key-value tokens",
    ),
    Linear(
        "o_proj",
        n=("hidden",),
        k="H/A * v_head",
        split="row",
        over="A",
        weights=("self_attn.o_proj",),
    ),
    Special(
        "absorbed kv_b_proj (w_kc)",
        "m_grouped_fp8_gemm_nt_masked",
        {"num_groups": "H/A", "n": "kv_lora", "k": "qk_nope"},
        needs="deepgemm_bmm",
    ),
    Special(
        "absorbed kv_b_proj (w_vc)",
        "m_grouped_fp8_gemm_nt_masked",
        {"num_groups": "H/A", "n": "v_head", "k": "kv_lora"},
        needs="deepgemm_bmm",
    ),
)

_INDEXER = (
    Linear(
        "indexer wq_b",
        n=("index_heads * index_dim",),
        k="q_lora",
        part="indexer",
        weights=("self_attn.indexer.wq_b",),
        when="index_heads > 0",
    ),
    Linear(
        "indexer wq_b, captured decode",
        n=("index_heads * index_dim",),
        k="q_lora",
        part="indexer",
        weights=("self_attn.indexer.wq_b",),
        tokens=Tokens.CAPTURED,
        when="index_heads > 0 and not rope_interleave",
        engines=("sglang",),
        num_sms="(sms // 2 + 7) // 8 * 8",
        note="half of the SMs, since a second stream computes the keys",
    ),
    Linear(
        "indexer wk",
        n=("index_dim",),
        k="hidden",
        part="indexer",
        weights=("self_attn.indexer.wk",),
        when="index_heads > 0 and not rope_interleave",
        engines=("sglang",),
    ),
    Unquantized(
        "indexer wk_weights_proj",
        "fused and BF16, since the config says indexer_rope_interleave",
        when="index_heads > 0 and rope_interleave",
        engines=("sglang",),
    ),
    Unquantized("indexer wk_weights_proj", "fused and BF16", when="index_heads > 0", engines=("vllm",)),
    *sglang_dsa("indexer", "index_heads > 0"),
    *vllm("indexer", "index_heads > 0"),
)

FAMILY = Family(
    name="mla",
    summary="multi-head latent attention with routed experts: DeepSeek-V2/V3/R1/V3.2, Kimi-K2/K2.5, GLM-5",
    architectures=(
        "DeepseekV2ForCausalLM",
        "DeepseekV3ForCausalLM",
        "DeepseekV32ForCausalLM",
        "GlmMoeDsaForCausalLM",
        "KimiK25ForConditionalGeneration",
    ),
    symbols=(
        *ATTENTION_SYMBOLS,
        Symbol("inter", ("intermediate_size",)),
        Symbol("moe_inter", ("moe_intermediate_size",)),
        experts_symbol("n_routed_experts"),
        Symbol("top_k", ("num_experts_per_tok",)),
        Symbol("n_shared", ("n_shared_experts",), default=0, minimum=0),
        Symbol("dense_layers", ("first_k_dense_replace",), default=0, minimum=0),
        Symbol("index_heads", ("index_n_heads",), default=0, minimum=0),
        Symbol("index_dim", ("index_head_dim",), default=128),
        Symbol("rope_interleave", ("indexer_rope_interleave",), default=0, flag=True),
    ),
    layers=(
        *ATTENTION,
        *_INDEXER,
        *mlp("dense", "inter", "T", "dense_layers > 0", "mlp"),
        *mlp("shared expert", "moe_inter * n_shared", "S", "n_shared > 0", "mlp.shared_experts"),
        Experts("moe_inter/moe_tp", "hidden"),
        *hopper_mega_moe(),
        Unquantized("lm_head, MoE gate, NextN eh_proj", "BF16 in every checkpoint"),
    ),
    shared_experts="n_shared",
    fixed={"moe_layer_freq": (1,)},
    source="SGLang 0.5.23 and vLLM 0.33.0, models/deepseek_v2.py",
)
