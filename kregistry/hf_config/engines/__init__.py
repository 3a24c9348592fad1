"""The rules of the engines: which layers go to DeepGEMM, which models do not load, and the range of m."""

from __future__ import annotations

from kregistry.errors import UnknownNameError
from kregistry.hf_config.engines.engine import Engine
from kregistry.hf_config.engines.layout import Layout
from kregistry.hf_config.engines.sglang import SGLang
from kregistry.hf_config.engines.vllm import VLLM

ENGINES: dict[str, type[Engine]] = {"sglang": SGLang, "vllm": VLLM}

__all__ = ["ENGINES", "Engine", "Layout", "get_engine"]


def get_engine(name: str) -> type[Engine]:
    """
    Raises:
        UnknownNameError: no engine has that name.
    """
    if name not in ENGINES:
        raise UnknownNameError("engine", name, tuple(ENGINES))
    return ENGINES[name]
