"""Every architecture that SGLang or vLLM registers has a verdict, and the verdicts are those of the families."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import pytest
from command_line import Result

from kregistry.hf_config.architectures import VERDICTS, architectures, reason_of
from kregistry.hf_config.model_family import Family

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """tools/architectures.py, which writes the file."""
    spec = importlib.util.spec_from_file_location("architectures", ROOT / "tools" / "architectures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_name_has_one_verdict_and_a_reason() -> None:
    found = architectures()
    assert len(found) > 500
    for each in found.values():
        assert each.verdict in VERDICTS, each.name
        assert each.reason and each.engines, each.name
    assert {each.verdict for each in found.values()} == set(VERDICTS)


def test_described_means_that_a_family_has_it(families: tuple[Family, ...]) -> None:
    """A family that is added or removed needs a new run of the tool; a name that no engine registers is an error."""
    ours = {name: f"family {family.name}" for family in families for name in family.architectures}
    described = {each.name: each.reason for each in architectures().values() if each.verdict == "described"}
    assert described == ours


def test_what_is_said_of_an_architecture_without_a_family() -> None:
    assert reason_of("LlamaForCausalLM").startswith("sglang and vllm can serve it, but no family has its shapes")
    assert reason_of("TorchNativeLlamaForCausalLM").endswith(
        "its layers take no quantisation, so no weight is in FP8 blocks"
    )
    assert reason_of("Qwen3ForCausalLM") == reason_of("NoSuchForCausalLM") == ""


@pytest.mark.engines
def test_no_architecture_of_the_engines_lacks_a_verdict(tool: ModuleType) -> None:
    """A name that a new release registers needs a verdict: run tools/architectures.py."""
    for engine in ("sglang", "vllm"):
        try:
            version(engine)
        except PackageNotFoundError:
            pytest.skip(f"{engine} is not installed")
    registered = {name for name, _ in (*tool.sglang_architectures(), *tool.vllm_architectures())}
    assert sorted(registered - set(architectures())) == []


def test_the_message_lists_the_known_ones_and_two_ways_out(
    kregistry: Callable[..., Result], tmp_path: Path, families: tuple[Family, ...]
) -> None:
    """For names that engines have and for others; a family with another spelling is offered, never another model."""
    for name in ("LlamaForCausalLM", "Gemma3ForCausalLM", "NoSuchForCausalLM"):
        config = tmp_path / f"{name}.json"
        config.write_text(f'{{"architectures": ["{name}"]}}')
        result = kregistry("init", "--config", str(config), "--engine", "vllm")
        assert result.code == 2
        assert "did you mean" not in result.err
        assert "kregistry rehearse" in result.err and "kregistry record" in result.err
        for family in families:
            for known in family.architectures:
                assert known in result.err
    config.write_text('{"architectures": ["Qwen3MOEForCausalLM"]}')
    assert "did you mean 'Qwen3MoeForCausalLM'?" in kregistry("init", "--config", str(config), "--engine", "vllm").err
