"""kregistry rehearse: bad input, and the real engines in .ci/engines."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from command_line import Result

from kregistry.rehearsal import rehearse as module
from kregistry.rehearsal.findings import Failure
from kregistry.target import get_target

Run = Callable[..., Result]
DATA = Path(__file__).parents[1] / "data" / "rehearsal"


def test_an_unknown_engine_lists_the_known_ones(kregistry: Run) -> None:
    result = kregistry("rehearse", "sglagn", "--", "--model-path", "x")
    assert result.code == 2
    assert "unknown engine 'sglagn'" in result.err and "sglang" in result.err


def test_an_engine_that_is_not_installed(kregistry: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.metadata, "version", missing)
    result = kregistry("rehearse", "vllm", "--", "--model", "x")
    assert result.code == 3
    assert "vllm is not installed" in result.err


def test_an_unknown_version_is_named_with_the_known_ones(kregistry: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.metadata, "version", lambda name: "9.9.9")
    result = kregistry("rehearse", "sglang", "--", "--model-path", "x")
    assert result.code == 3
    assert "sglang 9.9.9 is installed, and the patches of a rehearsal know 0.5.15.post1, 0.5.16, 0.5.23" in result.err
    assert "--any-version" in result.err


def test_the_manifest_says_which_variables_of_the_engine_were_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this engine, that a rehearsal does not set itself, and that hold no secret."""
    given = {
        "SGLANG_DSV4_FP4_EXPERTS": "0",
        "SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK": "256",
        "SGLANG_API_KEY": "abc",
        "SGLANG_HF_TOKEN": "abc",
        "SGLANG_HOME": "/root/a folder",
        "SGLANG_JIT_DEEPGEMM_PRECOMPILE": "1",
        "VLLM_USE_DEEP_GEMM": "1",
    }
    for name in [name for name in os.environ if name.startswith(("SGLANG_", "VLLM_"))]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    shown = ("SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK", "SGLANG_DSV4_FP4_EXPERTS")
    assert list(module._variables("sglang").items()) == [(name, given[name]) for name in shown]
    assert module._variables("vllm") == {"VLLM_USE_DEEP_GEMM": "1"}


def test_the_message_of_a_validator_is_without_the_object_that_it_checked() -> None:
    text = (
        "ValidationError: 2 validation errors for VllmConfig\n  Value error, 64 heads [type=value_error, "
        "input_value=ArgsKwargs((), {'model_co... 'shutdown_timeout': 0}), input_type=ArgsKwargs]\n"
        "    For further information visit https://errors.example/2.14/v/value_error\nport\n  Input should be [1, 2] "
        "[type=literal_error, input_value='x', input_type=str]\n    For further information visit https://e.example/l"
    )
    error = module._error("vllm", "0.33.0", Failure("engine", "arguments", text, "config.py:1"))
    assert str(error).startswith(
        "vllm 0.33.0 rejects it: ValidationError: 2 validation errors for VllmConfig Value error, 64 heads port Input "
        "should be [1, 2] (config.py:1)"
    )


#: Processes in place of an engine, which take the arguments of kregistry.rehearsal.process.
STANDS_STILL = """
import faulthandler, time
faulthandler.dump_traceback_later(float(sys.argv[3]), exit=True)
time.sleep(600)
"""
DOES_NOT_END = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(601)'])"
DIES = "print('something is wrong'); sys.exit(3)"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Run something else in place of the engine's process."""
    monkeypatch.setattr(module, "_installed", lambda engine, any_version: module.VERSIONS[engine][-1])
    return lambda code: monkeypatch.setattr(module, "_CODE", code)


@pytest.mark.stub
@pytest.mark.parametrize("code", [STANDS_STILL, DOES_NOT_END], ids=["ends itself", "is killed"])
def test_an_engine_that_does_not_end_is_ended(
    code: str, kregistry: Run, stand_in: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(code)
    monkeypatch.setattr(module, "_GRACE", 200.0 if code is STANDS_STILL else 0.2)
    log = tmp_path / "engine.log"
    result = kregistry("rehearse", "sglang", "--timeout", "0.7", "--log", str(log), "--", "--model-path", "x")
    assert result.code == 1
    assert "it has not ended after 0.7 s (--timeout), and was at loading" in result.err
    assert ("line 6 in <module>" in result.err) is (code is STANDS_STILL)
    assert log.exists() and "Traceback" not in result.err


FITS_NOT = """
import os
from kregistry.rehearsal.findings import Facts, write_line
with open(sys.argv[2], "a") as out:
    write_line(out, Facts(os.environ["KREGISTRY_STUB_OVERFLOW"], 8, 1, 0, {}, False))
"""


@pytest.mark.stub
@pytest.mark.parametrize(("engine", "overflows"), [("sglang", True), ("vllm", False)])
def test_a_model_that_does_not_fit_is_loaded_once(
    engine: str, overflows: bool, stand_in: Callable[[str], None]
) -> None:
    """Where the engine goes on as if it had more memory: imports and the load would be done twice."""
    stand_in(FITS_NOT)
    attempts: list[str] = []
    done = module.rehearse(engine, get_target("h100"), (), on_start=attempts.append)
    assert [text.startswith("the model does not fit into 80 GiB") for text in attempts] == [False, True]
    assert done.notes == (attempts[1],)
    assert done.findings.facts is not None and (int(done.findings.facts.architecture) > 0) is overflows


@pytest.mark.stub
def test_an_engine_that_dies_says_its_last_words(kregistry: Run, stand_in: Callable[[str], None]) -> None:
    stand_in(DIES)
    result = kregistry("rehearse", "vllm", "--", "--model", "x")
    assert result.code == 1
    assert "it has ended with code 3: something is wrong" in result.err


@pytest.mark.stub
def test_a_log_that_cannot_be_written(kregistry: Run, stand_in: Callable[[str], None], tmp_path: Path) -> None:
    stand_in(DIES)
    result = kregistry("rehearse", "vllm", "--log", str(tmp_path / "no" / "log"), "--", "--model", "x")
    assert result.code == 4
    assert str(tmp_path / "no" / "log") in result.err


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "90000"])
def test_a_wrong_limit(seconds: str, kregistry: Run) -> None:
    result = kregistry("rehearse", "sglang", "--timeout", seconds, "--", "--model-path", "x")
    assert result.code == 2
    assert "--timeout" in result.err and seconds in result.err


@pytest.mark.engines
@pytest.mark.usefixtures("engine_imported_once")
def test_a_config_that_the_engine_rejects_is_one_paragraph(kregistry: Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["NoSuchModel"], "model_type": "nothing"}))
    result = kregistry("rehearse", "sglang", "--", "--model-path", str(tmp_path))
    assert result.code == 2
    assert "rejects it" in result.err and "Traceback" not in result.err
    result = kregistry("rehearse", "sglang", "--", "--model-path", str(tmp_path), "--no-such-option")
    assert result.code == 2
    assert "unrecognized arguments: --no-such-option" in result.err


REMOTE = {"architectures": ["OddForCausalLM"], "model_type": "odd", "auto_map": {"AutoConfig": "odd.OddConfig"}}


@pytest.mark.engines
@pytest.mark.usefixtures("engine_imported_once")
@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        (None, ()),
        ("", ()),
        ("{", ()),
        (json.dumps(REMOTE), ()),
        (json.dumps(REMOTE), ("--trust-remote-code",)),
        (None, ("--port", "many")),
    ],
    ids=["no config", "empty", "not JSON", "remote code", "trusted remote code", "argument"],
)
@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_what_the_engine_rejects_is_one_message(
    engine: str, content: str | None, arguments: tuple[str, ...], kregistry: Run, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    model = "--model-path" if engine == "sglang" else "--model"
    result = kregistry("rehearse", engine, "--", model, str(tmp_path), *arguments)
    assert result.code == 2, result.err
    assert "rejects it" in result.err and "Traceback" not in result.err
    assert len(result.err) < 1200


@pytest.mark.engines
@pytest.mark.usefixtures("engine_imported_once")
@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_a_model_that_is_not_there(engine: str, kregistry: Run) -> None:
    model = "--model-path" if engine == "sglang" else "--model"
    result = kregistry("rehearse", engine, "--", model, "/no/such/model")
    assert result.code == 2, result.err
    assert "/no/such/model" in result.err and "Traceback" not in result.err


def model_folder(folder: Path, **changes: Any) -> Path:
    """A folder with the config of Qwen3-32B, which both engines take, with two layers and other keys."""
    published = DATA / "configs" / "qwen3-32b-fp8" / "config.json"
    config = {**json.loads(published.read_text()), "num_hidden_layers": 2, **changes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


BLOCKS = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
#: Keys of config.json, arguments of SGLang and of vLLM, and a pattern of what both engines say.
REJECTED: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "unknown model": ({"architectures": ["NoSuchModel"], "model_type": "nothing"}, "", "", "nothing"),
    "heads that tp does not divide": ({}, "--tp-size 3", "--tensor-parallel-size 3", "heads"),
    "blocks that tp does not divide": ({}, "--tp-size 16", "--tensor-parallel-size 16", "1600"),
    "a word for a number": ({"hidden_size": "wide"}, "", "", "hidden_size"),
    "unknown quantization": ({"quantization_config": {"quant_method": "no-such"}}, "", "", "no-such"),
    "quantization of another kind": ({}, "--quantization awq", "--quantization awq", "awq"),
    "unknown scheme": ({"quantization_config": {**BLOCKS, "activation_scheme": "sometimes"}}, "", "", "sometimes"),
    "a block with one side": ({"quantization_config": {**BLOCKS, "weight_block_size": [128]}}, "", "", "2 dimensions"),
    "null": ({"hidden_size": None}, "", "", "hidden_size"),
    "null heads": ({"num_attention_heads": None}, "", "", "num_attention_heads"),
    "no text": ({}, "--is-embedding", "--runner pooling", "a rehearsal generates text"),
    "an architecture of another engine": ({"architectures": ["NoSuchForCausalLM"]}, "", "", "NoSuchForCausalLM"),
    "a negative size": ({"intermediate_size": -25600}, "", "", "negative dimension -51200"),
    "a list for a number": ({"num_hidden_layers": [2]}, "", "", "num_hidden_layers"),
    "longer than the model": ({}, "--context-length 50000", "--max-model-len 50000", "40960"),
    "no ranks": ({}, "--tp-size 0", "--tensor-parallel-size 0", "by zero|tensor_parallel_size"),
    "unknown option": ({}, "--no-such-option", "--no-such-option", "--no-such-option"),
    "not a choice": ({}, "--dtype none", "--dtype none", "none"),
}


@pytest.mark.engines
@pytest.mark.usefixtures("engine_imported_once")
@pytest.mark.parametrize(("changes", "sglang", "vllm", "words"), REJECTED.values(), ids=REJECTED)
@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_the_engine_says_why_it_rejects_a_model(
    changes: dict[str, Any], sglang: str, vllm: str, words: str, engine: str, kregistry: Run, tmp_path: Path
) -> None:
    """Its own message in one paragraph, with what it names."""
    model = "--model-path" if engine == "sglang" else "--model"
    arguments = (sglang if engine == "sglang" else vllm).split()
    result = kregistry("rehearse", engine, "--", model, str(model_folder(tmp_path, **changes)), *arguments)
    assert result.code == 2, result.err
    (message,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert "rejects it: " in message and re.search(words, message), message
    assert "Traceback" not in result.err and len(message) < 1000
