"""What stands in for DeepEP takes no more than DeepEP does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kregistry.rehearsal.patches import deep_ep


@pytest.mark.stub
def test_a_rank_dispatches_no_more_tokens_than_the_engine_has_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest decode step of a rehearsal follows from it; the engine's variable makes it larger."""
    monkeypatch.setattr(deep_ep._Buffer, "most_tokens", None)
    assert deep_ep.most_dispatched_tokens() is None
    buffer = deep_ep._Buffer(SimpleNamespace(size=lambda: 8))
    tokens: Any = SimpleNamespace(shape=(129, 7168))
    with pytest.raises(ValueError, match="at most 128 tokens of a rank, and has got 129"):
        buffer.low_latency_dispatch(tokens, None, 128, 256)
    assert deep_ep.most_dispatched_tokens() == 128
