"""torch and DeepGEMM are an extra: what works without them, and what the other commands say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from command_line import Result

Run = Callable[..., Result]

CONFIG = Path(__file__).resolve().parents[1] / "data" / "models" / "configs" / "qwen3-8b-fp8.json"
HINT = "hint: in a clone of kregistry, pip install '.[deepgemm]'"


def hide(monkeypatch: pytest.MonkeyPatch, torch: str | None = None) -> None:
    """As if there were no torch, or one of that version, and no DeepGEMM."""
    version = metadata.version

    def answer(name: str) -> str:
        if name == "torch" and torch:
            return torch
        if name in ("torch", "sgl-deep-gemm", "deep_gemm"):
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", answer)
    for name in ("torch", "deep_gemm"):
        monkeypatch.setitem(sys.modules, name, None)  # Python's way of saying that there is no such module


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("list", "fp8_gemm_nt"),
        ("check",),
        ("schema",),
        ("targets",),
        ("docs", "manifest"),
        ("init", "--config", CONFIG, "--engine", "sglang", "--target", "h100"),
        ("new-plugin", "my-gemm"),
    ],
    ids=lambda each: " ".join(map(str, each[:2])),
)
def test_what_needs_no_torch_works(
    kregistry: Run, tiny_file: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...]
) -> None:
    hide(monkeypatch)
    monkeypatch.chdir(tiny_file.parent)
    result = kregistry(*arguments)
    assert (result.code, "error" in result.err) == (0, False)


@pytest.mark.parametrize("torch", [None, "2.5.1"])
@pytest.mark.parametrize(
    "arguments",
    [("plan",), ("build",), ("verify",), ("warmup", "-t", "h100"), ("conformance", "fp8_gemm_nt")],
    ids=lambda each: each[0],
)
def test_what_needs_torch_says_so(
    kregistry: Run, tiny_file: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], torch: str | None
) -> None:
    hide(monkeypatch, torch)
    monkeypatch.chdir(tiny_file.parent)
    result = kregistry(*arguments)
    found = f"torch {torch} is too old: expected 2.6 or newer" if torch else "torch is not installed"
    assert result.code == 3
    assert result.err.startswith(f"error: {found}\n{HINT}")
    assert "Traceback" not in result.err


@pytest.mark.parametrize("arguments", [("check", "-t", "detect"), ("warmup",)], ids=lambda each: each[0])
def test_the_device_cannot_be_asked_without_torch(
    kregistry: Run, tiny_file: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    hide(monkeypatch)
    monkeypatch.chdir(tiny_file.parent)
    result = kregistry(*arguments)
    assert result.code == 3
    assert "torch" in result.err.splitlines()[0] and HINT in result.err
    assert "Traceback" not in result.err


def test_a_recording_of_nothing_says_that_deep_gemm_is_missing(kregistry: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch)
    result = kregistry("record", "--", "true")
    assert result.code == 3
    assert result.err.startswith(f"error: DeepGEMM (the module deep_gemm) is not installed\n{HINT}")


def test_the_doctor_names_both(kregistry: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch)
    result = kregistry("doctor", "--json")
    assert result.code == 3
    wrong = {each["subject"]: each["found"] for each in result.json if not each["ok"]}
    assert wrong["torch"] == "torch is not installed"
    assert wrong["DeepGEMM"] == "DeepGEMM (the module deep_gemm) is not installed"
