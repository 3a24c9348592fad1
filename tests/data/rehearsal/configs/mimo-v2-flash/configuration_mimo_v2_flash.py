"""Stands for the configuration class that the published folder has: it keeps every key of config.json as it is.

The class of the same model in transformers replaces the keys of rotary embeddings, which engines read.
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class MiMoV2FlashConfig(PretrainedConfig):
    """The keys of config.json as attributes."""

    model_type = "mimo_v2_flash"

    def __init__(self, **keys: Any) -> None:
        super().__init__(**keys)
