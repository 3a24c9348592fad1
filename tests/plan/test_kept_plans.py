"""Plans beside a store: used again as long as nothing has changed that they depend on, and never trusted blindly."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from events import EventLog

from kregistry.compile import BuildReport
from kregistry.compile.built_plan import write_built_plan
from kregistry.manifest import Manifest
from kregistry.plan import Plan
from kregistry.plan import planner as module
from kregistry.plan.kept_plans import KeptPlan
from kregistry.plan.plan_file import read_plan
from kregistry.registry import Registry
from kregistry.store import signed_json
from kregistry.toolchain import Toolchain


@pytest.fixture
def kept(tmp_path: Path, tiny_manifest: Manifest, toolchain: Toolchain, tiny_build: BuildReport) -> KeptPlan:
    """The plan of the tiny manifest, kept in a directory of its own."""
    kept = KeptPlan.beside(tmp_path, tiny_manifest, Registry(), toolchain)
    kept.write(tiny_build.plan)
    return kept


@pytest.fixture
def no_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        pytest.fail("a dry run was made")

    monkeypatch.setattr(module.DryRun, "run", fail)


def test_what_is_kept_is_the_whole_plan(kept: KeptPlan, tiny_build: BuildReport) -> None:
    found = kept.read()
    assert found == tiny_build.plan
    assert found is not None and found.reused and found.fingerprint == kept.path.stem
    (kernel,), (expected,) = found.kernels.values(), tiny_build.plan.kernels.values()
    assert (kernel.files, kernel.command, kernel.source) == (expected.files, expected.command, expected.source)
    assert found.entries[0].nbytes == tiny_build.plan.entries[0].nbytes > 0


@pytest.mark.usefixtures("no_dry_run")
def test_a_kept_plan_sends_the_same_events(kept: KeptPlan, tiny_manifest: Manifest, tmp_path: Path) -> None:
    registry, log = Registry(), EventLog()
    registry.register(log, "log")
    kernels: list[str] = []
    plan = module.make_plan(tiny_manifest, registry, keep_in=tmp_path, on_kernel=lambda each: kernels.append(each.id))
    registry.events.flush()
    assert kernels == list(plan.kernels)
    assert log.names() == ["kregistry_plan_started", "kregistry_kernel_planned", "kregistry_entry_planned"]


def planned_again(kept: KeptPlan, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, **options: Any) -> bool:
    class Again(Exception):
        pass

    def again(*_: object) -> None:
        raise Again

    monkeypatch.setattr(module.DryRun, "run", again)
    try:
        module.make_plan(manifest, Registry(), keep_in=kept.path.parents[1], **options)
    except Again:
        return True
    return False


def test_another_range_or_option_or_stack_plans_again(
    kept: KeptPlan, tiny_manifest: Manifest, toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry,) = tiny_manifest.entries
    longer = evolve(tiny_manifest, entries=(evolve(entry, range=evolve(entry.range, stop=5)),))
    other = evolve(toolchain, versions=evolve(toolchain.versions, torch="9.9"))
    assert not planned_again(kept, tiny_manifest, monkeypatch)
    assert planned_again(kept, longer, monkeypatch)
    assert planned_again(kept, tiny_manifest, monkeypatch, replan=True)
    assert planned_again(kept, tiny_manifest, monkeypatch, toolchain=other)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.pop("recorded"),
        lambda content: content["recorded"].clear(),
        lambda content: content["entries"].append(content["entries"][0]),
        lambda content: content["entries"][0].update(type="fp8_gemm_nt"),
        lambda content: next(iter(content["kernels"].values())).update(key="0" * 64),
        lambda content: next(iter(content["recorded"].values())).update(cache_entry="../../etc"),
        lambda content: next(iter(content["recorded"].values())).update(files={"../x": ""}),
        lambda content: next(iter(content["recorded"].values())).update(files={"x": "\u20ac"}),
    ],
)
def test_a_damaged_file_is_no_plan(kept: KeptPlan, damage: Any) -> None:
    """Neither as it is, which the digest shows, nor signed, as a kregistry with a fault might write it."""
    content = signed_json.decode(kept.path.read_bytes())
    damage(content)
    for raw in (json.dumps(content).encode(), signed_json.encode(content)):
        kept.path.write_bytes(raw)
        assert kept.read() is None


def test_the_plan_of_something_else_is_no_plan(kept: KeptPlan, tiny_build: BuildReport) -> None:
    other = evolve(kept, path=kept.path.with_name("f" * 32 + ".json"))
    other.write(tiny_build.plan)
    assert other.read() is not None
    kept.path.write_bytes(other.path.read_bytes())
    assert kept.read() is None
    kept.write(evolve(tiny_build.plan, entries=tuple(evolve(each, error="x") for each in tiny_build.plan.entries)))
    assert not kept.path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "\0"])
def test_a_torn_file_is_no_plan(kept: KeptPlan, text: str) -> None:
    kept.path.write_text(text)
    assert kept.read() is None


def test_a_failed_entry_is_not_kept(kept: KeptPlan, tiny_build: BuildReport) -> None:
    kept.path.unlink()
    failed = tuple(evolve(each, error="the process died") for each in tiny_build.plan.entries)
    kept.write(evolve(tiny_build.plan, entries=failed))
    assert not kept.path.exists()


def test_a_directory_that_cannot_be_written_costs_nothing_but_time(kept: KeptPlan, tiny_build: BuildReport) -> None:
    plan: Plan = tiny_build.plan
    file = kept.path.parents[1] / "file"
    file.touch()
    evolve(kept, path=file / "plans" / "x.json").write(plan)
    assert evolve(kept, path=file / "plans" / "x.json").read() is None


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("nowhere")], ids=["pipe", "link"])
def test_what_lies_in_the_place_of_a_kept_plan_is_replaced(
    kept: KeptPlan, tiny_build: BuildReport, make: Callable[[Path], None]
) -> None:
    """Whoever opens a named pipe for writing waits until somebody reads it."""
    kept.path.unlink()
    make(kept.path)
    assert kept.read() is None
    kept.write(tiny_build.plan)
    assert kept.read() == tiny_build.plan


def test_a_plan_that_another_process_has_built_meanwhile_stays_built(
    kept: KeptPlan, tiny_build: BuildReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its other ranks are about to read which kernels compile; whoever has only planned does not know."""
    write_built_plan(kept.path, tiny_build)
    kept.write(tiny_build.plan)
    assert read_plan(kept.path).build is not None
    failed = tuple(evolve(each, error="the process died") for each in tiny_build.plan.entries)
    kept.write(evolve(tiny_build.plan, entries=failed))
    assert read_plan(kept.path).build is not None

    def late(path: Path) -> bool:
        """The other process writes after we have looked."""
        write_built_plan(kept.path, tiny_build)
        return False

    kept.path.unlink()
    monkeypatch.setattr(os.path, "lexists", late)
    kept.write(tiny_build.plan)
    monkeypatch.undo()
    assert read_plan(kept.path).build is not None
    assert [path.name for path in kept.path.parent.iterdir()] == [kept.path.name]
