"""Priorities reach the build that follows them, before, while and after it runs."""

from __future__ import annotations

from collections.abc import Collection

from kregistry.compile.priorities import Priorities


def test_a_build_learns_what_was_asked_before_it_and_while_it_runs() -> None:
    heard: list[set[str]] = []

    def follow(keys: Collection[str]) -> None:
        heard.append(set(keys))

    priorities = Priorities()
    priorities.first(["early"])
    with priorities.followed_by(follow):
        priorities.first(["now"])
    priorities.first(["late"])
    assert heard == [{"early"}, {"now"}]
    with priorities.followed_by(follow):
        pass
    assert heard[2] == {"early", "now", "late"}
