"""What SGLang's ServerArgs become, whatever a version of SGLang calls them."""

from __future__ import annotations

import importlib.util
import json
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import asdict
from engine_on_stub import need, run

from kregistry.hf_config.deployment import Deployment
from kregistry.integrations.sglang.server_arguments import _SAME, find_server_args, request_of
from kregistry.integrations.start_folder import Request
from kregistry.target import get_target


class Backend(Enum):
    DEEP_GEMM = "deep_gemm"


def args(path: object, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(model_path=str(path), tp_size=1, **more)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "Some Model-V3"
    directory.mkdir()
    (directory / "config.json").write_text('{"architectures": ["A"], "hidden_size": 8}')
    return directory


def test_they_become_the_options_of_init(model: Path) -> None:
    given = args(
        model,
        ep_size=1,
        dp_size=4,
        enable_dp_attention=True,
        moe_runner_backend=Backend.DEEP_GEMM,
        moe_dense_tp_size=None,
        disable_shared_experts_fusion=True,
        chunked_prefill_size=4096,  # SGLang has divided 16,384 by four
        json_model_override_args='{"hidden_size": 16}',
    )
    request = request_of(given)
    assert request.deployment == {
        "tp": 1,
        "ep": 1,
        "dp": 4,
        "moe_runner": "deep_gemm",
        "shared_expert_fusion": "off",
        "chunked_prefill": 16384,
    }
    assert request.config == {"architectures": ["A"], "hidden_size": 16}
    assert request.model == "some-model-v3" and request.largest == 16384 and request.automatic
    assert "m_grouped_fp8_gemm_nt_masked" in request.warmed
    assert Request(**json.loads(json.dumps(asdict(request)))) == request


def test_those_that_decide_kernels_are_there(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Speculation, overlaps, stages, requests and the buffers of all-to-all backends."""
    monkeypatch.setenv("SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK", "256")
    given = args(
        model,
        moe_a2a_backend="deepep",
        speculative_num_draft_tokens=4,
        enable_two_batch_overlap=True,
        enable_single_batch_overlap=False,
        pp_size=2,
        attn_cp_size=1,
        cuda_graph_config=SimpleNamespace(decode=SimpleNamespace(max_bs=128)),
    )
    options = request_of(given).deployment
    assert options.pop("chunked_prefill") == -1
    assert options == {
        "tp": 1,
        "dp": 1,
        "a2a": "deepep",
        "speculative_tokens": 4,
        "two_batch_overlap": True,
        "single_batch_overlap": False,
        "pp": 2,
        "cp": 1,
        "max_requests": 128,
        "max_dispatch_tokens": 256,
    }
    Deployment("sglang", get_target("h100"), **{**options, "chunked_prefill": -1})


@pytest.mark.parametrize("name", ["cuda_graph_max_bs", "cuda_graph_max_bs_decode"])
def test_the_requests_of_a_step_of_other_versions(model: Path, name: str) -> None:
    assert request_of(args(model, **{name: 64})).deployment["max_requests"] == 64


def test_the_requests_that_may_run_are_those_of_a_step(model: Path) -> None:
    given = args(model, max_running_requests=2048, dp_size=4, enable_dp_attention=True, cuda_graph_max_bs=64)
    assert request_of(given).deployment["max_requests"] == 512


@pytest.mark.parametrize("value", ["", "many", "0"])
def test_a_bound_that_is_no_number_is_left_to_the_engine(
    model: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGLANG_OPT_DEEPGEMM_MEGA_MOE_NUM_MAX_TOKENS_PER_RANK", value)
    assert "max_dispatch_tokens" not in request_of(args(model, moe_a2a_backend="megamoe")).deployment


@pytest.mark.parametrize(("chunk", "largest"), [(None, 65536), (-1, 65536), (8192, 16384), (16384, 32768)])
def test_the_largest_m_is_that_of_sglangs_own_warm_up(model: Path, chunk: int | None, largest: int) -> None:
    assert request_of(args(model, chunked_prefill_size=chunk)).largest == largest


@pytest.mark.engines
def test_the_installed_sglang_has_these_arguments() -> None:
    need("sglang")
    [place] = importlib.util.find_spec("sglang").submodule_search_locations or []  # type: ignore[union-attr]
    text = "".join(path.read_text() for path in (Path(place) / "srt/arg_groups/fields").glob("*.py"))
    names = [
        *_SAME,
        "cuda_graph_config",
        "cuda_graph_max_bs_decode",
        "max_running_requests",
        "chunked_prefill_size",
        "enable_dp_attention",
    ]
    assert [name for name in names if f"\n    {name}: " not in text] == []


@pytest.mark.engines
def test_the_choices_of_the_installed_sglang_are_read(tmp_path: Path) -> None:
    """SGLang keeps them apart from what was given, and divides the chunk among the ranks of data-parallel attention."""
    need("sglang")
    model = Path(__file__).parents[1] / "data" / "rehearsal" / "configs" / "deepseek-v3"
    got = run(
        f"""
from sglang.srt.server_args import prepare_server_args
from kregistry.integrations.sglang.server_arguments import request_of
found = []
for extra in ([], ["--attn-dp-size", "4"], ["--chunked-prefill-size", "16384"]):
    arguments = ["--model-path", {str(model)!r}, "--tp-size", "4", "--load-format", "dummy", "--skip-tokenizer-init"]
    args = prepare_server_args([*arguments, *extra])
    args.resolve_once()
    request = request_of(args)
    assert args.chunked_prefill_size in (None, 16384)
    found.append([request.deployment[each] for each in ("dp", "chunked_prefill")] + [request.largest])
answer(found=found, decode=request.deployment["max_requests"])
""",
        tmp_path,
    )
    assert got["found"] == [[1, 8192, 16384], [4, 8192, 16384], [1, 16384, 32768]] and got["decode"] > 0


def test_replicas_do_not_divide_a_rank(model: Path) -> None:
    assert request_of(args(model, dp_size=4)).deployment["dp"] == 1


def test_a_model_that_is_no_directory_is_asked_for_its_config() -> None:
    config = SimpleNamespace(to_dict=lambda: {"hidden_size": 4, "dtype": object}, architectures=["B"])
    given = args("org/Model", get_model_config=lambda: SimpleNamespace(hf_config=config))
    request = request_of(given)
    assert request.config["architectures"] == ["B"] and request.config["hidden_size"] == 4
    assert request.model == "model"


def test_the_automatic_manifest_can_be_turned_off(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KREGISTRY_AUTO", "0")
    assert not request_of(args(model)).automatic


def test_they_are_found_among_the_arguments_of_a_call(model: Path) -> None:
    given = args(model)
    assert find_server_args([0, None, given, "x"]) is given
    assert find_server_args([0, None]) is None
