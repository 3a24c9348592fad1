from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from kregistry import Registry, load_manifest

CONFIGS = Path(__file__).parent.parent.parent / "manifests" / "configs"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The real command, as a user calls it."""
    code = "from kregistry.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)


def init(config: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run("init", "--config", CONFIGS / f"{config}.json", "--engine", "sglang", *arguments)


def test_writes_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / "kernels.yaml"
    printed = init("deepseek-v3", "--tp", "8", "--dp", "8", "--moe-a2a-backend", "deepep")
    written = init("deepseek-v3", "--tp", "8", "--dp", "8", "--moe-a2a-backend", "deepep", "-o", path)
    assert (printed.returncode, written.returncode) == (0, 0)
    first, _, rest = path.read_text().partition("\n")
    digest = hashlib.sha256(printed.stdout.encode()).hexdigest()
    assert (first, rest) == (f"# written by kregistry; sha256 of the other lines: {digest}", printed.stdout)
    assert printed.stdout.splitlines()[0] == (
        "# Written by: kregistry init --config deepseek-v3.json --engine sglang --tp 8 --dp 8 --moe-a2a-backend deepep"
    )
    assert str(CONFIGS) not in printed.stdout
    assert load_manifest(path, Registry()).models == ("deepseek-v3",)
    assert "12 entries" in written.stderr


def test_explain() -> None:
    result = init("deepseek-v3", "--tp", "8", "--explain")
    assert result.returncode == 0
    assert "update_deep_gemm_config at chunked prefill 8192" in result.stdout
    assert "the MoE runner is triton" in result.stdout
    assert "version: 1" not in result.stdout


def test_explain_shows_what_does_not_load() -> None:
    result = init("qwen3-235b-a22b-fp8", "--tp", "8", "--explain")
    assert result.returncode == 2
    assert "does not load" in result.stdout
    assert "Traceback" not in result.stderr


def test_diff(tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    assert init("qwen3-32b-fp8", "--tp", "4", "-o", path).returncode == 0
    same = init("qwen3-32b-fp8", "--tp", "4", "--diff", path)
    assert (same.returncode, same.stdout) == (0, f"no difference from {path}\n")
    other = init("qwen3-32b-fp8", "--tp", "2", "--diff", path)
    assert "~ fp8_gemm_nt o_proj: n=5120 k=2048 scales=f32 -> n=5120 k=4096 scales=f32" in other.stdout


def test_stop_and_name() -> None:
    result = init("qwen3-32b-fp8", "--stop", "qkv_proj=128", "--stop", "fp8_gemm_nt=256", "--name", "qwen")
    assert result.returncode == 0
    assert "  qwen:\n" in result.stdout
    assert "m: {start: 1, stop: 128}" in result.stdout
    assert result.stdout.count("m: {start: 1, stop: 256}") == 3


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
def test_wrong_options(arguments: list[str], expected: str) -> None:
    result = init("qwen3-32b-fp8", *arguments)
    assert result.returncode == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_unwritable_output(tmp_path: Path) -> None:
    result = init("qwen3-32b-fp8", "-o", tmp_path / "missing" / "kernels.yaml")
    assert result.returncode == 4
    assert "Traceback" not in result.stderr


def test_own_target(tmp_path: Path) -> None:
    """A target of one's own is written out, so that the manifest stands alone."""
    target = tmp_path / "cut.yaml"
    target.write_text("{name: h100-cut, base: h100, num_sms: 100}")
    path = tmp_path / "kernels.yaml"
    assert init("qwen3-32b-fp8", "--target", target, "-o", path).returncode == 0
    assert load_manifest(path, Registry()).target.num_sms == 100


def test_default_name() -> None:
    from kregistry.cli.init_command import default_name

    assert default_name(Path("/models/DeepSeek V3/config.json")) == "deepseek-v3"
    assert default_name(Path("Qwen3-32B-FP8.json")) == "qwen3-32b-fp8"
    assert default_name(Path("/config.json")) == "model"


def test_an_edited_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kernels.yaml"
    assert init("qwen3-32b-fp8", "-o", path).returncode == 0
    unedited = path.read_text()
    path.write_text(unedited + "# mine\n")
    refused = init("qwen3-32b-fp8", "-o", path)
    assert refused.returncode == 2 and "is not an unedited output of this command" in refused.stderr
    assert path.read_text() == unedited + "# mine\n"
    assert init("qwen3-32b-fp8", "-o", path, "--force").returncode == 0
    assert path.read_text() == unedited
