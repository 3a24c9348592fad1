"""The calls of the indexer of DeepSeek sparse attention, as SGLang and vLLM make them.

Both compute a schedule before each decode step. In a prefill, SGLang asks for the logits of all keys, vLLM for
compressed ones. On Blackwell, vLLM quantises to MXFP8 and passes one row for each token.
"""

from __future__ import annotations

from kregistry.hf_config.model_family import Layer, Special, Tokens

_BF16 = {"weights_dtype": "'bfloat16'", "logits_dtype": "'bfloat16'"}
_SCHEDULE = "get_paged_mqa_logits_metadata"


def sglang_dsa(part: str, when: str) -> tuple[Layer, ...]:
    """SGLang's calls for DeepSeek-V3.2 and GLM-5: layers/attention/dsa_backend.py and dsa/dsa_indexer.py.

    Speculative tokens share a row of the schedule on SM100 only.

    Args:
        part: the part of the model.
        when: a formula; whether the model has the indexer.
    """

    def call(label: str, kernel_type: str, shape: dict[str, str], tokens: Tokens, **options: object) -> Special:
        return Special(label, kernel_type, shape, part, tokens, engines=("sglang",), **options)  # type: ignore[arg-type]

    heads = {"num_heads": "index_heads", "head_dim": "index_dim"}
    padded = {"num_heads": "max(32, index_heads)", "head_dim": "index_dim"}
    together = f"({when}) and verify > 1"
    beyond = "only for prompts beyond index_topk"
    return (
        call("indexer logits, prefill", "fp8_mqa_logits", padded, Tokens.STEP, when=when, note=beyond),
        call(
            "indexer logits, prefill beside a pipeline stage",
            "fp8_mqa_logits",
            {**padded, "num_sms": "sms - 1"},
            Tokens.STEP,
            when=f"({when}) and pp > 1",
            note="all stages but the last leave an SM to the next micro-batch",
        ),
        call(
            "indexer schedule", _SCHEDULE, {"next_n": "1"}, Tokens.VERIFIED, when=when, note="before each decode step"
        ),
        call(
            "indexer schedule, speculative tokens",
            _SCHEDULE,
            {"next_n": "verify"},
            Tokens.REQUESTS,
            when=together,
            archs=("sm100",),
        ),
        call("indexer logits, decode", "fp8_paged_mqa_logits", {**heads, "next_n": "1"}, Tokens.VERIFIED, when=when),
        call(
            "indexer logits, speculative tokens",
            "fp8_paged_mqa_logits",
            {**heads, "next_n": "verify"},
            Tokens.REQUESTS,
            when=together,
            archs=("sm100",),
        ),
    )


def vllm(part: str, when: str) -> tuple[Layer, ...]:
    """vLLM's calls for every model with such an indexer.

    Source: v1/attention/backends/mla/indexer.py, model_executor/layers/sparse_attn_indexer.py, utils/deep_gemm.py. On
    Hopper, 2 or 4 tokens of a request share a row; any other number is flattened to rows of one token.
    """
    heads = {"num_heads": "index_heads", "head_dim": "index_dim"}
    every = (
        Special(
            "indexer logits, prefill",
            "fp8_fp4_mqa_logits",
            {**heads, "logits": "'compressed'"},
            part,
            when=when,
            engines=("vllm",),
            archs=("sm90",),
        ),
        Special(
            "indexer logits, prefill",
            "mxfp8_mqa_logits",
            {**heads, **_BF16, "logits": "'compressed'"},
            part,
            when=when,
            engines=("vllm",),
            archs=("sm100",),
        ),
        Special(
            "indexer schedule",
            _SCHEDULE,
            {"next_n": "1", "indices": "'true'"},
            part,
            Tokens.VERIFIED,
            when=when,
            engines=("vllm",),
            archs=("sm100",),
            note="before each decode step",
        ),
        Special(
            "indexer logits, decode",
            "mxfp8_paged_mqa_logits",
            {**heads, **_BF16, "next_n": "1", "indices": "'true'"},
            part,
            Tokens.VERIFIED,
            when=when,
            engines=("vllm",),
            archs=("sm100",),
        ),
        *(call for tokens in (1, 2, 4) for call in _hopper_rows(part, when, heads, tokens)),
    )
    return every


def _hopper_rows(part: str, when: str, heads: dict[str, str], tokens: int) -> tuple[Layer, ...]:
    """The decode calls of vLLM on Hopper whose requests have ``tokens`` tokens each."""
    conditions = {1: when, 2: f"({when}) and (verify == 2 or verify == 4)", 4: f"({when}) and verify == 4"}
    suffix = "" if tokens == 1 else f", {tokens} tokens"
    # Four tokens are computed by pairs of SMs, and the schedule has a slot for each pair.
    slots = {"num_sms": "sms // 2"} if tokens == 4 else {}
    rows = Tokens.VERIFIED if tokens == 1 else Tokens.REQUESTS
    schedule = Special(
        f"indexer schedule{suffix}",
        _SCHEDULE,
        {"next_n": str(tokens), **slots},
        part,
        rows,
        when=conditions[tokens],
        engines=("vllm",),
        archs=("sm90",),
        note="before each decode step",
    )
    logits = Special(
        f"indexer logits, decode{suffix}",
        "fp8_fp4_paged_mqa_logits",
        {**heads, "next_n": str(tokens)},
        part,
        rows,
        when=conditions[tokens],
        engines=("vllm",),
        archs=("sm90",),
    )
    return schedule, logits
