"""The model families that come with kregistry, one a file. They use only what a third party's family can use."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry.hf_config.model_family import Family
from kregistry.hookspecs import hookimpl


@hookimpl
def kregistry_model_families() -> Iterable[Family]:
    from kregistry.hf_config.families import (
        deepseek_v4,
        longcat,
        mimo,
        minimax_m2,
        mla,
        qwen3,
        qwen3_moe,
        qwen3_next,
        step3,
        step3p7,
    )

    modules = (mla, longcat, deepseek_v4, qwen3, qwen3_moe, qwen3_next, minimax_m2, mimo, step3, step3p7)
    return [module.FAMILY for module in modules]
