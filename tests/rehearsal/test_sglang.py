"""The requests that a rehearsal gives to SGLang."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kregistry.rehearsal import sglang
from kregistry.rehearsal.sglang import SglangEngine


@pytest.mark.parametrize(
    ("dispatched", "tp", "dp", "attention", "requests"),
    [
        (None, 8, 1, False, 512),
        (128, 8, 1, False, 1024),  # eight ranks share the requests
        (128, 8, 8, True, 128),  # each rank has its own
        (256, 16, 8, True, 512),
        (128, 8, 2, False, 1024),  # replicas of eight ranks
    ],
)
def test_the_largest_decode_step_is_what_deep_ep_dispatches(
    dispatched: int | None, tp: int, dp: int, attention: bool, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sglang, "most_dispatched_tokens", lambda: dispatched)
    engine: Any = SimpleNamespace(_args=SimpleNamespace(tp_size=tp, dp_size=dp, enable_dp_attention=attention))
    assert SglangEngine._most_requests(engine) == requests
