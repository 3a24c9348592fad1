from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry import Registry, load_manifest
from kregistry.hf_config.call_site import LayerVerdict

Run = Callable[..., Result]

CONFIGS = Path(__file__).parent.parent.parent / "manifests" / "configs"


@pytest.fixture
def init(kregistry: Run) -> Run:
    """``kregistry init`` for a configuration of the gallery, by its name."""

    def run(config: str, *arguments: object) -> Result:
        return kregistry("init", "--config", CONFIGS / f"{config}.json", "--engine", "sglang", *arguments)

    return run


def test_the_real_command_prints_what_it_prints_here(init: Run) -> None:
    arguments = ("init", "--config", str(CONFIGS / "qwen3-32b-fp8.json"), "--engine", "sglang")
    code = "from kregistry.cli import main; main()"
    real = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert Result(real.returncode, real.stdout, real.stderr) == init("qwen3-32b-fp8")


def test_writes_a_manifest(init: Run, tmp_path: Path) -> None:
    path = tmp_path / "kernels.yaml"
    printed = init("deepseek-v3", "--tp", "8", "--dp", "8", "--moe-a2a-backend", "deepep")
    written = init("deepseek-v3", "--tp", "8", "--dp", "8", "--moe-a2a-backend", "deepep", "-o", path)
    assert (printed.code, written.code) == (0, 0)
    first, _, rest = path.read_text().partition("\n")
    digest = hashlib.sha256(printed.out.encode()).hexdigest()
    assert (first, rest) == (f"# written by kregistry; sha256 of the other lines: {digest}", printed.out)
    assert printed.out.splitlines()[0] == (
        "# Written by: kregistry init --config deepseek-v3.json --engine sglang --tp 8 --dp 8 --moe-a2a-backend deepep"
    )
    assert str(CONFIGS) not in printed.out
    assert load_manifest(path, Registry()).models == ("deepseek-v3",)
    assert "12 entries" in written.err


def test_explain(init: Run) -> None:
    result = init("deepseek-v3", "--tp", "8", "--explain")
    assert result.code == 0
    assert "update_deep_gemm_config at chunked prefill 8192" in result.out
    assert "the MoE runner is triton" in result.out
    assert "version: 1" not in result.out


def test_explain_shows_what_does_not_load(init: Run) -> None:
    result = init("qwen3-235b-a22b-fp8", "--tp", "8", "--explain")
    assert result.code == 2
    assert "does not load" in result.out
    assert "Traceback" not in result.err


def test_diff(init: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    assert init("qwen3-32b-fp8", "--tp", "4", "-o", path).code == 0
    same = init("qwen3-32b-fp8", "--tp", "4", "--diff", path)
    assert (same.code, same.out) == (0, f"no difference from {path}\n")
    other = init("qwen3-32b-fp8", "--tp", "2", "--diff", path)
    assert "~ fp8_gemm_nt o_proj: n=5120 k=2048 scales=f32 -> n=5120 k=4096 scales=f32" in other.out


def test_stop_and_name(init: Run) -> None:
    result = init("qwen3-32b-fp8", "--stop", "qkv_proj=128", "--stop", "fp8_gemm_nt=256", "--name", "qwen")
    assert result.code == 0
    assert "  qwen:\n" in result.out
    assert "m: {start: 1, stop: 128}" in result.out
    assert result.out.count("m: {start: 1, stop: 256}") == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--stop", "qkv_proj"], "--stop: expected WHAT=N"),
        (["--name", "a b"], "--name: expected letters"),
        (["--target", "h1000"], "unknown target 'h1000'"),
        (["--tp", "0"], "tp: expected an integer from 1"),
        (["--tp", "7"], "64 cannot be divided by 7"),
    ],
)
def test_wrong_options(init: Run, arguments: list[str], expected: str) -> None:
    result = init("qwen3-32b-fp8", *arguments)
    assert result.code == 2
    assert expected in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


def test_unwritable_output(init: Run, tmp_path: Path) -> None:
    result = init("qwen3-32b-fp8", "-o", tmp_path / "missing" / "kernels.yaml")
    assert result.code == 4
    assert "Traceback" not in result.err


def test_own_target(init: Run, tmp_path: Path) -> None:
    """A target of one's own is written out, so that the manifest stands alone."""
    target = tmp_path / "cut.yaml"
    target.write_text("{name: h100-cut, base: h100, num_sms: 100}")
    path = tmp_path / "kernels.yaml"
    assert init("qwen3-32b-fp8", "--target", target, "-o", path).code == 0
    assert load_manifest(path, Registry()).target.num_sms == 100


def test_default_name() -> None:
    from kregistry.cli.init_command import default_name

    assert default_name(Path("/models/DeepSeek V3/config.json")) == "deepseek-v3"
    assert default_name(Path("Qwen3-32B-FP8.json")) == "qwen3-32b-fp8"
    assert default_name(Path("/config.json")) == "model"


def test_an_edited_file_is_not_replaced(init: Run, tmp_path: Path) -> None:
    path = tmp_path / "kernels.yaml"
    assert init("qwen3-32b-fp8", "-o", path).code == 0
    unedited = path.read_text()
    path.write_text(unedited + "# mine\n")
    refused = init("qwen3-32b-fp8", "-o", path)
    assert refused.code == 2 and "is not an unedited output of this command" in refused.err
    assert path.read_text() == unedited + "# mine\n"
    assert init("qwen3-32b-fp8", "-o", path, "--force").code == 0
    assert path.read_text() == unedited


def test_an_example_goes_to_the_file_of_o(kregistry: Run, tmp_path: Path) -> None:
    path = tmp_path / "ex.yaml"
    result = kregistry("init", "--example", "-o", path)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"{path}: an example; kregistry check {path} reports mistakes\n"
    assert kregistry("check", path).code == 0
    assert kregistry("init", "--example", "-o", path).code == 0, "an unedited output may be replaced"
    path.write_text("mine: 1\n")
    refused = kregistry("init", "--example", "-o", path)
    assert (refused.code, path.read_text()) == (2, "mine: 1\n")
    assert kregistry("init", "--example", "-o", path, "--force").code == 0
    printed = kregistry("init", "--example", "-o", "-")
    assert printed.out == kregistry("init", "--example").out == path.read_text().partition("\n")[2]
    both = kregistry("init", "--example", "--engine", "vllm", "--tp", "8")
    assert (both.code, "--engine, --tp would change nothing" in both.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [((), "--config and --engine"), (("--config", "c.json"), "--engine"), (("--engine", "sglang"), "--config")],
)
def test_what_init_needs(kregistry: Run, arguments: tuple[str, ...], missing: str) -> None:
    result = kregistry("init", *arguments)
    assert (result.code, result.err.splitlines()[0]) == (2, f"error: init needs {missing}")
    assert "kregistry init --example -o kernels.yaml writes a small manifest" in result.err


def test_a_directory_stands_for_its_config(kregistry: Run, tmp_path: Path) -> None:
    model = tmp_path / "Qwen3-32B-FP8"
    model.mkdir()
    empty = kregistry("init", "--config", model, "--engine", "sglang")
    assert (empty.code, "a directory without a config.json\nhint: name the model's config.json" in empty.err) == (
        2,
        True,
    )
    (model / "config.json").write_bytes((CONFIGS / "qwen3-32b-fp8.json").read_bytes())
    of_directory = kregistry("init", "--config", model, "--engine", "sglang")
    assert (of_directory.code, of_directory.out) == (
        0,
        kregistry("init", "--config", model / "config.json", "--engine", "sglang").out,
    )
    assert "  qwen3-32b-fp8:" in of_directory.out


def test_a_name_of_a_hub_is_not_downloaded(kregistry: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = kregistry("init", "--config", "deepseek-ai/DeepSeek-V3", "--engine", "sglang")
    assert (result.code, result.err) == (
        2,
        "error: --config deepseek-ai/DeepSeek-V3: No such file or directory\n"
        "hint: init downloads nothing: `hf download deepseek-ai/DeepSeek-V3 config.json` does, "
        "and prints the path for --config\n",
    )


def test_the_summary_counts_in_the_plural(kregistry: Run) -> None:
    result = kregistry("init", "--config", CONFIGS / "qwen3-32b-fp8.json", "--engine", "sglang")
    assert "4 go to DeepGEMM" in result.err
    assert [LayerVerdict.FUSED.of(count) for count in (1, 2)] == [
        "1 is part of another layer",
        "2 are part of another layer",
    ]


def test_the_spelling_of_an_engine_is_accepted(kregistry: Run) -> None:
    config = ("init", "--config", CONFIGS / "qwen3-30b-a3b-fp8.json", "--engine", "sglang")
    short = kregistry(*config, "--tp", "2", "--ep", "2", "--dp", "1", "--pp", "1", "--moe-runner", "deep_gemm")
    sizes = ("--tp-size", "2", "--ep-size", "2", "--dp-size", "1", "--pp-size", "1")
    assert kregistry(*config, *sizes, "--moe-runner-backend", "deep_gemm") == short
    written = " ".join(line.strip("# ") for line in short.out.splitlines()[:3])
    assert (short.code, "--tp 2 --ep 2 --dp 1 --moe-runner deep_gemm --pp 1" in written) == (0, True)
