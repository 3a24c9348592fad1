"""Targets: the built-in ones, unknown names, and detection without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve

from kregistry.errors import UnknownNameError
from kregistry.target import TARGETS, Target, get_target


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_a_builtin_target_is_complete(target: Target) -> None:
    assert get_target(target.name) is target
    assert target.device_name.startswith("NVIDIA ")
    assert target.arch in ("sm90", "sm100", "sm120")
    assert f"{target.major}.{target.minor}" == target.compute_capability
    assert 64 <= target.num_sms <= 192
    assert 50 << 20 <= target.l2_bytes <= 128 << 20
    assert 80 << 30 <= target.memory_bytes <= 288 << 30
    assert target.source


def test_the_documented_targets_are_there() -> None:
    documented = "h100 h100-pcie h200 h20 h800 gh200 b200 gb200 b300 rtx-pro-6000"
    assert list(TARGETS) == documented.split()


def test_a_minor_capability_belongs_to_the_same_arch() -> None:
    assert TARGETS["b300"].compute_capability == "10.3"
    assert TARGETS["b300"].arch == "sm100"


def test_targets_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TARGETS["h100"] = TARGETS["h200"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        TARGETS["h100"].num_sms = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "two words"},
        {"name": ""},
        {"compute_capability": "9"},
        {"compute_capability": "9.0a"},
        {"num_sms": 0},
        {"l2_bytes": 0},
        {"memory_bytes": -1},
    ],
    ids=str,
)
def test_a_target_refuses_numbers_that_no_gpu_has(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        evolve(TARGETS["h100"], **change)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("h10O", "did you mean 'h100'?"),
        ("detct", "did you mean 'detect'?"),
        (
            "zzz",
            "known targets: b200, b300, detect, gb200, gh200, h100, h100-pcie, h20, h200, h800, rtx-pro-6000",
        ),
    ],
)
def test_an_unknown_target_is_named(name: str, hint: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        get_target(name)
    assert caught.value.message == f"unknown target {name!r}"
    assert caught.value.hint == hint


@pytest.mark.stub
def test_detect_without_a_gpu_says_what_to_do() -> None:
    code = "from kregistry.cli import main; import sys; sys.argv = ['kregistry', 'check', '-t', 'detect']; main()"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 3
    assert result.stdout == ""
    assert result.stderr == (
        "error: target 'detect' needs a CUDA device, but torch finds none\n"
        "hint: name the target instead, e.g. --target h100 (known: " + ", ".join(TARGETS) + ")\n"
    )
