"""Which calls get fewer SMs while SGLang 0.5.23 overlaps batches. Paths in comments are relative to ``sglang/srt``."""

from __future__ import annotations

from kregistry.hf_config.config import ModelConfig
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.engines.engine import SmLimit
from kregistry.hf_config.model_family import Experts, Linear, Special, Tokens

# deep_ep.Buffer.num_sms, which layers/moe/token_dispatcher/deepep.py takes unless a DeepEP config says otherwise.
_DEEPEP_SMS = 20
# batch_overlap/single_batch_overlap.py: SMs that send the results of experts, by arch.
_COMBINE_SMS = {"sm90": 3, "sm100": 32}
# batch_overlap/operations_strategy.py: models whose layers give up SMs in a prefill of two batches.
_TWO_BATCH = ("deepseekv2", "deepseekv3", "glmmoedsa", "kimik25", "qwen3moe", "qwen3vlmoe", "mimov2")


def sm_limits(
    given: Deployment, config: ModelConfig, layer: Linear | Experts | Special, kind: str = ""
) -> tuple[SmLimit, ...]:
    """The forms of a call with fewer SMs.

    Args:
        given: the setting.
        config: the model.
        layer: that makes the call.
        kind: the grouped layout of experts.
    """
    target = given.target
    sms = target.num_sms
    limits: list[SmLimit] = []
    if given.two_batch_overlap and _overlaps(config, layer, kind):
        rule = f"two-batch overlap leaves {sms} - {_DEEPEP_SMS} (DeepEP) SMs in a prefill"
        limits.append(SmLimit("two-batch overlap", sms - _DEEPEP_SMS, rule))
    shared = isinstance(layer, Linear) and layer.over == "S"
    if given.single_batch_overlap and target.arch == "sm100" and shared and given.a2a != "none":
        combine = _COMBINE_SMS[target.arch]
        rule = f"single-batch overlap leaves {sms} - {combine} (combine) SMs"
        limits.append(SmLimit("single-batch overlap", sms - combine, rule))
    return tuple(limits)


def _overlaps(config: ModelConfig, layer: Linear | Experts | Special, kind: str) -> bool:
    """Whether a call is part of the layers that two batches pass together, in a prefill."""
    if not config.architecture.lower().startswith(_TWO_BATCH):
        return False
    match layer:
        case Experts():
            return kind == "contiguous"
        case Linear():
            return layer.over != "T" and layer.part != "NextN"
        case Special():
            return layer.tokens is Tokens.STEP
