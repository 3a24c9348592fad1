"""The scheduler of each generation of SGLang is asked in its own way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kregistry.rehearsal.patches.catalogue import VERSIONS
from kregistry.rehearsal.sglang_release import Release, ReleaseTo15, ReleaseTo16, release


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.5.15", ReleaseTo15),
        ("0.5.15.post1", ReleaseTo15),
        ("0.5.16", ReleaseTo16),
        ("0.5.17", Release),
        ("0.5.23", Release),
    ],
)
def test_a_version_has_its_generation(version: str, expected: type[Release]) -> None:
    assert type(release(version)) is expected


def test_every_known_version_has_one() -> None:
    assert {type(release(version)) for version in VERSIONS["sglang"]} == {ReleaseTo15, ReleaseTo16, Release}


def test_the_running_batch_is_kept_where_the_scheduler_gives_it_back() -> None:
    def plan(running_batch: Any, last_batch: Any) -> Any:
        return SimpleNamespace(running_batch=f"{running_batch} + {last_batch}", batch_to_run="next")

    for each in (Release(), ReleaseTo16()):
        scheduler: Any = SimpleNamespace(get_next_batch_to_run=plan, running_batch="running", last_batch="last")
        assert (each.next_batch(scheduler), scheduler.running_batch) == ("next", "running + last")
    own: Any = SimpleNamespace(get_next_batch_to_run=lambda: "next", running_batch="running")
    assert (ReleaseTo15().next_batch(own), own.running_batch) == ("next", "running")


def test_arguments_of_old_releases_are_resolved_when_they_are_made() -> None:
    arguments = SimpleNamespace(cuda_graph_config=SimpleNamespace(decode="decode"), chunked_prefill_size=4096)
    assert (ReleaseTo16().graphs(arguments), ReleaseTo16().chunk(arguments)) == ("decode", 4096)
