"""Lock files: written, read, and every kind of drift reported."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from attrs import evolve
from plans import K, plan_of, planned
from sample_kernel_types import Sample
from shapes import entry_of

from kregistry import MK_ALIGNMENT
from kregistry.errors import DriftError, InputError
from kregistry.manifest import Range
from kregistry.plan import Plan, Refusal, Segment
from kregistry.plan.lock import changed_spans, check_lock, differ, write_lock
from kregistry.plan.plan_file import PlanFile, read_plan
from kregistry.toolchain import Versions

BASE = plan_of(planned((1, 4, "0"), (5, 8, "1")))
WHO = "model: sample n=8 layout=row splits=none sms=132 ()"


def drift(new: Plan, old: Plan = BASE) -> list[str]:
    return list(differ(PlanFile.from_plan(old), PlanFile.from_plan(new)))


def ranged(stop: int) -> Plan:
    (entry,) = BASE.entries
    return plan_of(evolve(entry, entry=evolve(entry.entry, range=Range("m", 1, stop))))


def test_a_plan_agrees_with_its_own_lock(tmp_path: Path) -> None:
    write_lock(BASE, tmp_path / "kernels.lock")
    check_lock(BASE, tmp_path / "kernels.lock")
    assert json.loads((tmp_path / "kernels.lock").read_text()) == BASE.to_json()
    assert read_plan(tmp_path / "kernels.lock") == PlanFile.from_plan(BASE)


class Aligned(Sample):
    settings = (MK_ALIGNMENT,)


@pytest.mark.parametrize(("alignment", "differences"), [(128, 0), (64, 2)])
def test_a_lock_file_that_shows_a_setting_at_its_default_agrees(
    alignment: int, differences: int, tmp_path: Path
) -> None:
    """As version 0.1.0 wrote it."""
    (entry,) = BASE.entries
    plan = plan_of(evolve(entry, entry=entry_of(Aligned(), n=8)))
    content = plan.to_json()
    content["entries"][0]["shape"]["mk_alignment"] = alignment
    (tmp_path / "kernels.lock").write_text(json.dumps(content))
    if not differences:
        check_lock(plan, tmp_path / "kernels.lock")
        return
    with pytest.raises(DriftError) as error:
        check_lock(plan, tmp_path / "kernels.lock")
    assert len(error.value.details) == differences


def test_a_lock_file_is_the_same_every_time(tmp_path: Path) -> None:
    write_lock(BASE, tmp_path / "a")
    write_lock(evolve(BASE, kernels=dict(reversed(list(BASE.kernels.items())))), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_text().endswith("}\n")


@pytest.mark.parametrize(
    ("new", "differences"),
    [
        (BASE, []),
        (
            plan_of(*BASE.entries, target="h20"),
            ["target: h100 in the file, h20 now", "SMs of the target: 132 in the file, 78 now"],
        ),
        (plan_of(*BASE.entries, versions=Versions("1.1", "2", "3")), ["DeepGEMM: 1 in the file, 1.1 now"]),
        (
            plan_of(planned((1, 4, "0"), (5, 8, "2"))),
            [
                f"1 kernel no longer needed: {K[1].id}",
                f"1 kernel needed now: {K[2].id}",
                f"{WHO}: m 5..8: {K[1].id} in the file, {K[2].id} now",
            ],
        ),
        (
            plan_of(planned((1, 5, "0"), (6, 8, "1"))),
            [f"{WHO}: m 5: {K[1].id} in the file, {K[0].id} now"],
        ),
        (
            plan_of(planned((1, 4, "1"), (5, 8, "0"))),
            [f"{WHO}: m 1..4: {K[0].id} in the file, {K[1].id} now; also m 5..8"],
        ),
        (
            plan_of(planned((1, 4, "0"), (5, 8, "1"), (9, 9, "0"))),
            [f"{WHO}: m 1..8 in the file, m 1..9 now"],
        ),
        (
            plan_of(planned((1, 4, "0"), (5, 7, "1"), (8, 8, "1"))),
            [f"{WHO}: planned: m 1..4, 5..8 in the file, m 1..4, 5..7, 8 now"],
        ),
        (
            plan_of(planned((1, 4, "0"), (5, 8, "1"), error="crashes")),
            [f"{WHO}: error: none in the file, crashes now"],
        ),
        (
            plan_of(planned((1, 4, "0"), (5, 8, "1"), refusals=(Refusal(9, 9, "no"),))),
            [f"{WHO}: refused: nothing in the file, m 9 (no) now"],
        ),
        (
            plan_of(planned((1, 4, "0"), (5, 8, "1"), n=16)),
            [f"{WHO}: in the file only", f"{WHO.replace('n=8', 'n=16')}: in this plan only"],
        ),
        (
            plan_of(*BASE.entries, *ranged(4).entries),
            [f"{WHO} #2: in this plan only"],
        ),
    ],
    ids=[
        "none",
        "target",
        "version",
        "kernel",
        "segment",
        "two segments",
        "range",
        "cuts",
        "error",
        "refusal",
        "entry",
        "same words",
    ],
)
def test_every_kind_of_drift_is_reported(new: Plan, differences: list[str]) -> None:
    assert drift(new) == differences


def test_entries_of_the_same_words_are_compared_one_by_one() -> None:
    def twice(stop: int) -> Plan:
        return plan_of(*ranged(stop).entries, *BASE.entries)

    assert drift(twice(6), twice(6)) == []
    (difference,) = drift(twice(6), twice(5))
    assert difference == f"{WHO}: m 1..5 in the file, m 1..6 now"


def test_checking_names_the_file_and_how_to_accept(tmp_path: Path) -> None:
    path = tmp_path / "kernels.lock"
    write_lock(BASE, path)
    with pytest.raises(DriftError) as caught:
        check_lock(plan_of(*BASE.entries, target="h20"), path)
    assert str(caught.value) == (
        f"{path}: the file and this plan differ in 2 points\n"
        "  target: h100 in the file, h20 now\n  SMs of the target: 132 in the file, 78 now\n"
        f"hint: kregistry plan -o {path} accepts them"
    )
    assert caught.value.exit_code == 1


def test_many_kernels_are_counted_and_not_all_named() -> None:
    many = PlanFile.from_plan(BASE)
    kernels = {f"gemm.{number}": each for number in range(20) for each in many.kernels.values()}
    (line,) = [each for each in differ(many, evolve(many, kernels={**many.kernels, **kernels})) if "needed now" in each]
    assert line.startswith("20 kernels needed now: gemm.0, gemm.1, ") and line.endswith(" and 12 more")


def test_content_that_is_no_lock_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "kernels.lock").write_text('{"lock_version": 1, "target": {}}')
    with pytest.raises(InputError) as caught:
        check_lock(BASE, tmp_path / "kernels.lock")
    assert str(caught.value) == (
        f"{tmp_path}/kernels.lock: not a lock file of version 1: the key 'name' is missing @ $.target.name\n"
        "hint: kregistry plan -o FILE writes a lock file"
    )


def test_changed_intervals_are_those_of_a_comparison_value_by_value() -> None:
    chance = random.Random(7)

    def segments() -> list[Segment]:
        made, at = [], 1
        while at < 60:
            at += chance.randrange(0, 4)
            stop = at + chance.randrange(0, 9)
            made.append(Segment(at, stop, chance.choice((("a",), ("b",), ()))))
            at = stop + 1
        return made

    for _ in range(50):
        before, after = segments(), segments()
        by_value = [
            {m: each.kernels for each in side for m in range(each.start, each.stop + 1)} for side in (before, after)
        ]
        expected = {m for m in by_value[0].keys() & by_value[1].keys() if by_value[0][m] != by_value[1][m]}
        found = [m for _, new in changed_spans(before, after) for m in range(new.start, new.stop + 1)]
        assert sorted(found) == sorted(expected)
