"""DeepSeek-V4: compressed attention, hyper-connections, grouped output projection."""

from __future__ import annotations

from kregistry.hf_config.families.blocks import MEGA_MOE, experts_symbol, hopper_mega_moe, mlp
from kregistry.hf_config.families.indexer import vllm
from kregistry.hf_config.model_family import Experts, Family, Linear, Special, Symbol, Tokens, Unquantized

_INDEXER = "indexer of compression ratio 4"
#: The draft layer is loaded only where the engine speculates.
_DRAFT = "nextn > 0 and verify > 1"
_WO_A = {"h": "o_groups/A", "d": "o_lora", "r": "H*head_dim/o_groups"}

FAMILY = Family(
    name="deepseek-v4",
    summary="DeepSeek-V4: compressed attention, hyper-connections, grouped output projection",
    architectures=("DeepseekV4ForCausalLM",),
    symbols=(
        Symbol("hidden", ("hidden_size",)),
        Symbol("H", ("num_attention_heads",)),
        Symbol("head_dim", ("head_dim",)),
        Symbol("q_lora", ("q_lora_rank",)),
        Symbol("o_groups", ("o_groups",)),
        Symbol("o_lora", ("o_lora_rank",)),
        Symbol("hc", ("hc_mult",)),
        Symbol("moe_inter", ("moe_intermediate_size",)),
        experts_symbol("n_routed_experts"),
        Symbol("top_k", ("num_experts_per_tok",)),
        Symbol("n_shared", ("n_shared_experts",), default=0, minimum=0),
        Symbol("index_heads", ("index_n_heads",)),
        Symbol("index_dim", ("index_head_dim",)),
        Symbol("c4_layers", ("compress_ratios",), count=4),
        Symbol("clamp", ("swiglu_limit",), default=0, minimum=0, whole_float=True),
        Symbol("nextn", ("num_nextn_predict_layers",), default=0, minimum=0),
    ),
    layers=(
        Special(
            "hc_prenorm",
            "tf32_hc_prenorm_gemm",
            {"n": "hc * (2 + hc)", "k": "hc * hidden", "num_splits": "'occupancy'"},
            part="hyper-connections",
            note="num_splits is a function of m",
        ),
        Linear(
            "wqkv_a",
            n=("q_lora", "head_dim"),
            k="hidden",
            weights=("attn.wq_a", "attn.wkv"),
        ),
        Linear("wq_b", n=("H/A * head_dim",), k="q_lora", split="column", over="A", weights=("attn.wq_b",)),
        Special(
            "wo_a",
            "fp8_einsum_bhr_hdr_bhd",
            {**_WO_A, "scales": "'f32'"},
            needs="fp8_wo_a",
            archs=("sm90",),
            note="recipe (1, 128, 128)",
        ),
        Special(
            "wo_a",
            "fp8_einsum_bhr_hdr_bhd",
            {**_WO_A, "scales": "'ue8m0'"},
            needs="fp8_wo_a",
            archs=("sm100",),
            note="recipe (1, 1, 128)",
        ),
        Linear("wo_b", n=("hidden",), k="o_groups * o_lora / A", split="row", over="A", weights=("attn.wo_b",)),
        Linear(
            "indexer wq_b",
            n=("index_heads * index_dim",),
            k="q_lora",
            part="indexer of compression ratio 4",
            weights=("attn.indexer.wq_b",),
            when="c4_layers > 0",
        ),
        Special(
            "indexer logits, long prefill",
            "fp8_mqa_logits",
            {"num_heads": "index_heads", "head_dim": "index_dim", "logits": "'compressed'"},
            part=_INDEXER,
            when="c4_layers > 0",
            engines=("sglang",),
            start=8192,
            note="one request alone, SGLANG_OPT_DSV4_NONPAGED_INDEXER_MIN_QUERY_TOKENS",
        ),
        Special(
            "indexer logits",
            "fp8_paged_mqa_logits",
            {"num_heads": "index_heads", "head_dim": "index_dim"},
            part=_INDEXER,
            when="c4_layers > 0",
            engines=("sglang",),
            note="a row for each token of a decode or prefill step",
        ),
        Unquantized(
            "indexer schedule",
            "computed by a kernel of sglang's own (SGLANG_OPT_USE_JIT_INDEXER_METADATA)",
            when="c4_layers > 0",
            engines=("sglang",),
            elsewhere=True,
        ),
        *vllm(_INDEXER, "c4_layers > 0"),
        *mlp("shared expert", "moe_inter * n_shared", "S", "n_shared > 0", "ffn.shared_experts"),
        Experts("moe_inter/moe_tp", "hidden", weights=("ffn.experts",), fp4=True),
        Special(
            "mega MoE",
            "fp8_fp4_mega_moe",
            {**MEGA_MOE, "activation_clamp": "?clamp", "num_shared_experts": "?mega_shared"},
            part="routed experts",
            tokens=Tokens.MEGA,
            when="mega_tokens > 0",
            needs="megamoe",
            archs=("sm100",),
        ),
        *hopper_mega_moe("?clamp"),
        Unquantized(
            "mega MoE pre-dispatch",
            "computed by a kernel of the engine's own on sm100",
            when="mega_tokens > 0",
            archs=("sm100",),
            elsewhere=True,
        ),
        Linear("NextN e_proj", n=("hidden",), k="hidden", part="NextN", weights=("e_proj",), when=_DRAFT),
        Linear(
            "NextN h_proj",
            n=("hidden",),
            k="hidden",
            part="NextN",
            weights=("h_proj",),
            m_factor="hc",
            when=_DRAFT,
            note="m = tokens * hc",
        ),
        Unquantized("compressor wkv_gate, indexer weights_proj", "BF16, cuBLAS by default"),
        Unquantized("lm_head, MoE gate", "BF16 in every checkpoint"),
    ),
    shared_experts="n_shared",
    source="SGLang 0.5.23 models/deepseek_v4.py; vLLM 0.33.0 models/deepseek_v4/",
)
