"""Targets of a manifest: by name, in line, on the base of another, from a file of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.errors import InputError, ManifestError, UnknownNameError
from kregistry.manifest import named_target
from kregistry.target import TARGETS
from manifests import problems, read

WHOLE = "{name: mine, device_name: My GPU, compute_capability: '9.0', num_sms: 64, l2_bytes: 1000, memory_bytes: 2000}"


def manifest(target: str) -> str:
    return f"version: 1\ntarget: {target}\nmodels: {{}}\n"


def test_by_name() -> None:
    assert read(manifest("b300")).target is TARGETS["b300"]


def test_a_complete_target() -> None:
    target = read(manifest(WHOLE)).target
    assert (target.name, target.device_name, target.arch, target.num_sms) == ("mine", "My GPU", "sm90", 64)
    assert (target.l2_bytes, target.memory_bytes, target.source) == (1000, 2000, "k.yaml")


def test_a_target_on_the_base_of_another() -> None:
    target = read(manifest("{name: half, base: h100, num_sms: 66}")).target
    assert (target.name, target.num_sms, target.source) == ("half", 66, "h100 with changes (k.yaml)")
    assert target.memory_bytes == TARGETS["h100"].memory_bytes


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (
            "",
            "1:1: the manifest names no target | "
            "add `target: h100` to the manifest, or give --target (kregistry targets lists them)",
        ),
        ("h10", "2:9: target: unknown target 'h10' | did you mean 'h100'?"),
        ("[h100]", "2:9: target: expected a target's name or a mapping, got a list"),
        ("100", "2:9: target: expected a target's name or a mapping, got 100"),
        ("true", "2:9: target: expected a target's name or a mapping, got true"),
        ("{base: h100}", "2:9: target.name: the key 'name' is missing"),
        ("{name: x, base: h10}", "2:25: target.base: unknown target 'h10' | did you mean 'h100'?"),
        (
            "{name: x, num_sms: 4}",
            "2:9: target: missing: device_name, compute_capability, l2_bytes, memory_bytes | "
            "give them, or `base: NAME` with a built-in target",
        ),
        ("{name: x, base: h100, num_sms: 0}", "2:9: target: 'num_sms' must be >= 1: 0"),
        ("{name: x, base: h100, num_sms: true}", "2:40: target.num_sms: expected an integer, got true"),
        (
            "{name: x, base: h100, compute_capability: 9.0}",
            "2:51: target.compute_capability: expected a string, got 9.0",
        ),
        ("{name: x, base: h100, compute_capability: '9'}", None),
        ("{name: a b, base: h100}", None),
        (WHOLE.replace("64", "0"), "2:9: target: 'num_sms' must be >= 1: 0"),
    ],
)
def test_a_wrong_target_is_reported(target: str, problem: str | None) -> None:
    (found,) = problems(manifest(target))
    if problem is None:
        assert found.startswith("2:9: target: '") and "must match regex" in found
    else:
        assert found == problem


def test_a_target_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nbase: h200\nnum_sms: 100\n")
    target = named_target(str(path))
    assert (target.name, target.num_sms, target.source) == ("mine", 100, f"h200 with changes ({path})")


def test_problems_of_a_target_file_carry_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("name: mine\nbase: h200\nsms: 100\nnum_sms: many\n")
    with pytest.raises(ManifestError) as caught:
        named_target(str(path))
    assert str(caught.value) == (
        f"{path}:3:6: sms: unknown key\n  hint: did you mean 'num_sms'?\n"
        f"{path}:4:10: num_sms: expected an integer, got 'many'\n2 problems in {path}"
    )


@pytest.mark.parametrize("content", ["", "h100\n", "[h100]\n"])
def test_a_target_file_must_hold_a_mapping(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ManifestError, match="1:1: expected a mapping, got"):
        named_target(str(path))


def test_a_target_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        named_target(str(tmp_path / "mine.yaml"))


def test_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown target 'zzz'"):
        named_target("zzz")
