"""kregistry check"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

Run = Callable[..., Result]


def test_a_valid_manifest(kregistry: Run, tiny_file: Path) -> None:
    result = kregistry("check", tiny_file)
    assert (result.code, result.err) == (0, "")
    assert result.out == f"tiny: 1 entry\n{tiny_file} is a valid manifest for h100\n"


def test_json(kregistry: Run, tiny_file: Path) -> None:
    result = kregistry("check", tiny_file, "--json", "-t", "h20", "-m", "tiny")
    assert result.json == {"file": str(tiny_file), "target": "h20", "entries": {"tiny": 1}}


def test_kernels_yaml_is_the_default(kregistry: Run, tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_file.parent)
    monkeypatch.setenv("KREGISTRY_TARGET", "b200")
    assert kregistry("check").out.endswith("kernels.yaml is a valid manifest for b200\n")


def test_every_problem_is_reported_and_exit_2(kregistry: Run, tmp_path: Path) -> None:
    path = tmp_path / "k.yaml"
    path.write_text(
        "version: 1\ntarget: h100\nmodels:\n  a:\n    kernels:\n"
        "      - {type: fp8_gem_nt, shape: {n: 16, k: 128}}\n"
        "      - {type: fp8_gemm_nt, shape: {n: 17, k: 128}, m: {stop: 8}}\n"
    )
    result = kregistry("check", path)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"error: {path}:6:16: models.a.kernels[0].type: unknown kernel type 'fp8_gem_nt'\n"
        "  hint: did you mean 'fp8_gemm_nt'?\n"
        f"{path}:7:40: models.a.kernels[1].shape.n: expected an integer >= 1 and a multiple of 8, got 17\n"
        f"2 problems in {path}\n"
    )


def test_what_is_no_yaml(kregistry: Run, tmp_path: Path) -> None:
    path = tmp_path / "k.yaml"
    path.write_text("version: {\n")
    result = kregistry("check", path)
    assert result.code == 2
    assert result.err.startswith(f"error: {path}:2:1: not valid YAML: ")


def test_a_file_that_is_missing(kregistry: Run, tmp_path: Path) -> None:
    result = kregistry("check", tmp_path / "none.yaml")
    assert result.code == 2
    assert result.err.startswith(f"error: {tmp_path}/none.yaml: No such file or directory\nhint: kregistry init ")


def test_without_a_manifest_the_hint_says_how_to_get_one(
    kregistry: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command that takes one; and what the hint names works."""
    monkeypatch.chdir(tmp_path)
    for command in ("check", "plan", "build", "verify", "show", "report"):
        result = kregistry(command)
        assert result.code == 2
        lines = result.err.splitlines()
        assert lines[0] == "error: kernels.yaml: No such file or directory"
        assert all(name in lines[1] for name in ("kregistry init --config", "kregistry rehearse", "--example"))
    assert "--example > small.yaml is a small one" in kregistry("plan", "small.yaml").err
    example = kregistry("init", "--example")
    assert (example.code, example.err) == (0, "")
    (tmp_path / "kernels.yaml").write_text(example.out)
    assert kregistry("check").out == "my-model: 2 entries\nkernels.yaml is a valid manifest for h100\n"
