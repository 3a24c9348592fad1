"""Completion of shells: what is offered, and that a broken file or plugin disturbs no shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from command_line import Result

from kregistry.cli import COMMANDS, cli

Run = Callable[..., Result]


def offered(*words: str) -> list[str]:
    """What is offered for the last word."""
    *args, incomplete = words
    completions = ShellComplete(cli, {}, "kregistry", "_KREGISTRY_COMPLETE").get_completions(list(args), incomplete)
    return [each.value for each in completions]


def test_commands_and_options() -> None:
    assert offered("") == list(COMMANDS)
    assert offered("comp") == ["completion"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]
    assert "--replan" in offered("plan", "--re")


def test_names_of_kernel_types_targets_and_plugins() -> None:
    assert "fp8_gemm_nt" in offered("list", "fp8_")
    assert "fp8_gemm_nt" in offered("conformance", "fp8_gemm_nt", "fp8")
    assert offered("plan", "-t", "h100-") == ["h100-pcie"]
    assert offered("plan", "--target", "det") == ["detect"]
    assert "fp8_gemm_nt=" in offered("plan", "--plugin", "fp8_gemm_nt")


def test_models_labels_and_dimensions_of_the_manifest(tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_file.parent)
    assert offered("plan", "-m", "") == ["tiny"]
    assert offered("plan", str(tiny_file), "-m", "t") == ["tiny"]
    assert offered("show", "") == ["tf32_hc_prenorm_gemm", "hc", "n=24", "k=256", "num_splits=none", "m="]
    monkeypatch.chdir("/")
    assert offered("show", str(tiny_file), "h") == offered("show", "-f", str(tiny_file), "h") == ["hc"]


#: What a shell would run, split, expand or take for an option if it were put into a command line.
HOSTILE = (
    "$(touch MARK)", "`touch MARK`", "a;touch MARK", "a b", "a\tb", "*", "~root", "-o", "a|b", "a>b", "a&b", "'a", "#a",
)  # fmt: skip


def test_a_label_that_a_shell_would_not_take_literally_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = (*HOSTILE, "größe", "q_b.proj/0")
    kernels = [
        {"type": "tf32_hc_prenorm_gemm", "label": label, "shape": {"n": 24, "k": 256 + 64 * number}, "m": {"stop": 4}}
        for number, label in enumerate(labels)
    ]
    models = {name: {"kernels": kernels[:1]} for name in ("$(touch MARK)", "a; touch MARK")}
    content = {"version": 1, "target": "h100", "models": {"good": {"kernels": kernels}, **models}}
    (tmp_path / "kernels.yaml").write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    found = offered("show", "")
    assert "größe" in found and "q_b.proj/0" in found and not set(HOSTILE).intersection(found)
    assert offered("plan", "-m", "") == ["good"]


def test_no_manifest_and_a_broken_one_offer_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert offered("plan", "-m", "") == []
    (tmp_path / "kernels.yaml").write_text("models: [")
    assert offered("plan", "-m", "") == offered("show", "") == []
    assert offered("no-such-command", "") == offered("")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(kregistry: Run, shell: str) -> None:
    result = kregistry("completion", shell)
    assert (result.code, result.err) == (0, "")
    assert "_KREGISTRY_COMPLETE" in result.out and "kregistry" in result.out


def test_bash_completes(kregistry: Run, tmp_path: Path) -> None:
    """As a person would: the script is loaded, and its function asked."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    command = tmp_path / "kregistry"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m kregistry "$@"\n')
    command.chmod(0o755)
    script = kregistry("completion", "bash").out + (
        "\nCOMP_WORDS=(kregistry plan -t h1); COMP_CWORD=3; _kregistry_completion kregistry; echo ${COMPREPLY[@]}\n"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([bash, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["h100", "h100-pcie"], done.stderr
