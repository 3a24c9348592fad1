"""docs/models.md: its code runs, and its lists are those of the program."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from kregistry import Registry, get_target
from kregistry.cli.init_command import command
from kregistry.hf_config.call_site import LayerVerdict
from kregistry.hf_config.config import parse_config
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.model_family import Family
from kregistry.hf_config.resolve import model_calls

TEXT = (Path(__file__).parent.parent.parent / "docs" / "models.md").read_text(encoding="utf-8")
CONFIG = {
    "architectures": ["ExampleForCausalLM"],
    "hidden_size": 4096,
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "moe_intermediate_size": 1536,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}


def test_the_example_is_a_family() -> None:
    [block] = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    module = ModuleType("example_family")
    exec(compile(block, "docs/models.md", "exec"), module.__dict__)
    deployment = Deployment("sglang", get_target("h100"), tp=8, a2a="deepep")
    calls = model_calls(parse_config(CONFIG), deployment, Registry(), [module.FAMILY])
    assert len(calls.with_verdict(LayerVerdict.DEEP_GEMM)) == 6
    # The same numbers as Qwen3-235B-A22B, by a family of a third party.
    assert [dict(site.shape) for site in calls.sites][:2] == [{"n": 1280, "k": 4096}, {"n": 4096, "k": 1024}]


def test_every_option_is_described() -> None:
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    assert {name for name in options if f"`{name}" not in TEXT} <= {
        "--config",
        "--engine",
        "--name",
        "--output",
        "--plugin",
    }


def test_every_family_is_named(families: tuple[Family, ...]) -> None:
    [paragraph] = re.findall(r"## Families that are known\n(.*?)\n## ", TEXT, flags=re.DOTALL)
    missing = [family.name for family in families if family.name not in paragraph]
    assert missing == []


@pytest.mark.parametrize("line", re.findall(r"^    kregistry (init .*)$", TEXT, flags=re.MULTILINE))
def test_command_lines_parse(line: str) -> None:
    command.make_context("init", line.split()[1:])
