"""Plans on disk: what is written is read, and nothing else is taken for a plan."""

from __future__ import annotations

import json
import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest
from plans import K, plan_of, planned
from readers import PLAN as LOCK

from kregistry.errors import InputError, StorageError
from kregistry.plan import Refusal
from kregistry.plan.plan_file import PlanFile, read_plan, write_plan
from kregistry.plan.plan_sections import BuildSection, BuiltKernel
from kregistry.store import signed_json

PLAN = plan_of(planned((1, 4, "0"), (5, 8, "1"), refusals=(Refusal(9, 9, "no"),)), planned(error="crashes", n=16))
BUILD = BuildSection(
    {K[0].id: BuiltKernel(".deep_gemm/cache/kernel.gemm.0", "kernel.cubin", ("kernel.cu",))},
    {K[1].id: "error: no"},
    True,
)
HINT = "kregistry plan -o FILE writes a lock file"


def content_of(build: BuildSection | None = None) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(PLAN.to_json()))
    if build is not None:
        built = {
            name: {"cache_entry": each.cache_entry, "cubin_file": each.cubin_file, "files": list(each.files)}
            for name, each in build.kernels.items()
        }
        content["fingerprint"] = "plan"
        content["build"] = {
            "kernels": built,
            "broken": dict(build.broken),
            "complete": build.complete,
        }
    return content


def signed(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(signed_json.encode(content))
    return found


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan", PLAN, BUILD)
    assert signed_json.decode((tmp_path / "plan").read_bytes()) == content_of(BUILD)
    found = read_plan(tmp_path / "plan")
    assert found.build == BUILD
    assert [section.planned(each.entry) for section, each in zip(found.entries, PLAN.entries)] == list(PLAN.entries)
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_lock_file_has_no_build(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan", PLAN)
    assert json.loads((tmp_path / "plan").read_text()) == PLAN.to_json()
    assert read_plan(tmp_path / "plan") == PlanFile.from_plan(PLAN)
    assert read_plan(tmp_path / "plan").build is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "expected another type @ $"),
        ({}, "the key 'lock_version' is missing @ $.lock_version"),
        ({**content_of(), "lock_version": True}, "expected int, got bool @ $.lock_version"),
        ({**content_of(), "target": []}, "expected another type @ $.target.name"),
        ({**content_of(), "versions": {"deep_gemm": 1}}, "expected str, got int @ $.versions.deep_gemm"),
        ({**content_of(), "kernels": None}, "expected another type @ $.kernels"),
        ({**content_of(), "entries": 3}, "expected another type @ $.entries"),
        ({**content_of(), "entries": [{}]}, "the key 'model' is missing @ $.entries[0].model"),
        ({**content_of(), "kernels": {}}, "a segment names a kernel that is not in the plan"),
        ({**content_of(), "build": {}}, "the key 'digest' is missing"),
        (signed({**content_of(), "build": {}}), "the key 'kernels' is missing @ $.build.kernels"),
        ({**signed(content_of(BUILD)), "digest": "0" * 64}, "its content was changed after it was written"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, content: Any, why: str) -> None:
    path = tmp_path / "plan"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        read_plan(path)
    assert caught.value.message.startswith(f"{path}: not a lock file of version 1: {why}")
    assert caught.value.hint == HINT


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"\0" * 64])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan").write_bytes(content)
    with pytest.raises(InputError, match="not JSON: ") as caught:
        read_plan(tmp_path / "plan")
    assert caught.value.hint == HINT


def test_another_version_names_the_command_that_renews_it(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    path.write_text(json.dumps({**content_of(), "lock_version": 7}))
    with pytest.raises(InputError) as caught:
        read_plan(path)
    assert str(caught.value) == (
        f"{path}: a lock file of version 7; this kregistry reads version 1\n"
        f"hint: kregistry plan FILE -o {path} writes it again"
    )


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (BuildSection({}, {}, True), "the build is not of the kernels of the plan"),
        (
            BuildSection({K[0].id: BuiltKernel("/a/b", "c", ())}, BUILD.broken, True),
            "not below a home directory",
        ),
        (
            BuildSection({K[0].id: BuiltKernel("a/../b", "c", ())}, BUILD.broken, True),
            "not below a home directory",
        ),
        (
            BuildSection({K[0].id: BuiltKernel("a", "c", ())}, BUILD.broken, True),
            "not below a home directory",
        ),
        (
            BuildSection({K[0].id: BuiltKernel("a/b", "../c", ())}, BUILD.broken, True),
            "the name of a file is a path",
        ),
        (
            BuildSection({K[0].id: BuiltKernel("a/b", "c", ("/d",))}, BUILD.broken, True),
            "the name of a file is a path",
        ),
    ],
)
def test_a_build_that_contradicts_its_plan_is_refused(tmp_path: Path, build: BuildSection, why: str) -> None:
    (tmp_path / "plan").write_bytes(signed_json.encode(content_of(build)))
    with pytest.raises(InputError, match=why):
        read_plan(tmp_path / "plan")


def test_a_key_that_is_a_path_is_refused(tmp_path: Path) -> None:
    content = content_of(BUILD)
    content["kernels"][K[0].id]["key"] = "../" * 21 + "a"
    (tmp_path / "plan").write_bytes(signed_json.encode(content))
    with pytest.raises(InputError, match="a key of a kernel is not a sha256"):
        read_plan(tmp_path / "plan")


def test_damage_at_any_place_is_an_input_error_or_a_plan(tmp_path: Path) -> None:
    """300 seeded mutations of a plan with a build: bytes changed, parts cut out, parts doubled, values replaced."""
    raw, chance = signed_json.encode(content_of(BUILD)), random.Random(7)
    pieces = [b"", b"null", b"-1", b'"x"', b"[]", b"{}", b"1e999"]
    refused = 0
    for _ in range(300):
        a, b = sorted(chance.randrange(len(raw)) for _ in range(2))
        piece = chance.choice([*pieces, raw[a:b] * 2, bytes([chance.randrange(256)])])
        (tmp_path / "plan").write_bytes(raw[:a] + piece + raw[b if chance.random() < 0.5 else a + 1 :])
        try:
            read_plan(tmp_path / "plan")
        except InputError:
            refused += 1
    assert refused > 250


def test_no_changed_bit_of_a_build_is_believed(tmp_path: Path) -> None:
    """Of each byte one bit. What is read all the same is what was written: the bit was in the space between values."""
    raw = signed_json.encode(content_of(BUILD))
    wanted = PlanFile.from_json(content_of(BUILD))
    for place in range(len(raw)):
        (tmp_path / "plan").write_bytes(raw[:place] + bytes([raw[place] ^ 1 << place % 8]) + raw[place + 1 :])
        try:
            found = read_plan(tmp_path / "plan")
        except InputError:
            continue
        assert found == wanted


def test_a_file_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory"):
        read_plan(tmp_path / "none")
    with pytest.raises(StorageError) as caught:
        write_plan(tmp_path, PLAN)
    assert caught.value.message == f"{tmp_path}: Is a directory"
    with pytest.raises(StorageError) as caught:
        write_plan(tmp_path / "none" / "plan", PLAN)
    assert caught.value.message == f"{tmp_path}/none/plan: No such file or directory"


def test_an_old_plan_stays_if_the_new_one_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        write_plan(path, PLAN)
    assert caught.value.message == f"{path}: No space left on device"
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "plan").touch()
    (tmp_path / "link").symlink_to("plan")
    write_plan(tmp_path / "link", PLAN)
    assert (tmp_path / "link").is_symlink() and read_plan(tmp_path / "plan") == PlanFile.from_plan(PLAN)
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_plan(tmp_path / "pipe", PLAN)
    assert os.read(reading, 1) == b"{"
    os.close(reading)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("segments", [(5, 4)]), ("segments", [(1, 4), (4, 8)]), ("segments", [(5, 8), (1, 4)]), ("segments", [(-1, 4)]),
        ("refusals", [(1, 1 << 40)]), ("refusals", [(3, 3), (3, 3)]),
        ("range", {"name": "m", "start": 5, "stop": 4, "step": 1}),
        ("range", {"name": "m", "start": -1, "stop": 4, "step": 1}),
        ("range", {"name": "m", "start": 1, "stop": 1 << 40, "step": 1}),
        ("range", {"name": "m", "start": 1, "stop": 4, "step": 0}),
    ],
    ids=str,
)  # fmt: skip
def test_intervals_that_are_not_in_order_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    content = json.loads(json.dumps(LOCK))
    (entry,) = content["entries"]
    if isinstance(value, list):
        rest = {"kernels": []} if key == "segments" else {"reason": "x"}
        value = [{"start": start, "stop": stop, **rest} for start, stop in value]
    entry[key] = value
    path = tmp_path / "kernels.lock"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"is not an interval|there is no range"):
        read_plan(path)
