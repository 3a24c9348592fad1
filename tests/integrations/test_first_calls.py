"""The watch for first calls, with real torch and DeepGEMM on the stub GPU; what it builds is built by the real nvcc."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from on_stub import PRELUDE, answer

WATCH = """
import logging, io
text = io.StringIO()
logging.getLogger("kregistry").addHandler(logging.StreamHandler(text))
from kregistry.integrations import first_calls
from kregistry.integrations.engine_warmup import EngineWarmup
from deep_gemm import tf32_hc_prenorm_gemm as bound_by_name
own = [deep_gemm.tf32_hc_prenorm_gemm, deep_gemm.fp8_gemm_nt]
engine = EngineWarmup("engine")
wanted = True
watch = first_calls.FirstCalls(engine, ["occupancy", "vllm-buckets"], lambda: 16, lambda: wanted)
manifests = []
class Observer:
    def warmed_up(self, manifest, outcome):
        manifests.append([[str(entry.shape), entry.range.stop] for entry in manifest.entries])
engine.observers.append(Observer())
watch.watch(deep_gemm)

def call(m, splits, **sizes):
    args, kwargs = hc(m, splits, **sizes)
    bound_by_name(*args, **kwargs)

def ours():
    return [deep_gemm.tf32_hc_prenorm_gemm is not own[0], deep_gemm.fp8_gemm_nt is not own[1], bound_by_name is own[0]]
"""


def watched(script: str, home: Path) -> Any:
    return answer(script, home, prelude=PRELUDE + WATCH, KREGISTRY_STORE=str(home / "store"))


@pytest.mark.nvcc
def test_a_first_call_warms_the_range_by_the_engines_rules(tmp_path: Path) -> None:
    got = watched(
        """
        first = ours()
        call(3, 4)
        for m in (1, 9, 16, 3):
            call(m, 4)
        call(5, 3)
        call(20, 4)
        answer(first=first, manifests=manifests, text=text.getvalue())
        """,
        tmp_path,
    )
    assert got["first"] == [True, True, False]
    rules = ["n=24 k=1024 num_splits=occupancy", "n=24 k=1024 num_splits=vllm-buckets"]
    assert got["manifests"] == [
        [[rule, 16] for rule in rules],  # both rules give 4 at m = 3
        [["n=24 k=1024 num_splits=3", 16]],  # no rule gives 3
        [[rule, 32] for rule in rules],  # larger than the engine has said
    ]
    assert got["text"] == ""


@pytest.mark.nvcc
def test_the_watch_ends_after_calls_that_bring_nothing_new(tmp_path: Path) -> None:
    got = watched(
        """
        first_calls._QUIET_CALLS = 3
        call(1, 4)
        call(2, 4)
        call(2, 3)  # new: counting begins again
        between = []
        for m in (1, 2, 3):
            between.append(ours())
            call(m, 4)
        answer(between=between, after=ours(), warmed=len(manifests))
        """,
        tmp_path,
    )
    assert got["between"] == [[True, True, False]] * 3
    assert got["after"] == [False, False, True] and got["warmed"] == 2


def test_a_failure_is_reported_once_and_the_call_goes_on(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    got = watched(
        """
        from kregistry.stub.recorder import Recorder
        recorder = Recorder()
        recorder.mark()
        call(2, 4)
        call(2, 4)
        recorder.mark()
        answer(launched=len(recorder.launches()[0]), text=text.getvalue(), warmed=len(manifests))
        """,
        tmp_path,
    )
    assert got["launched"] == 2 * 4 and got["warmed"] == 0  # four bytes for each launch
    told = "kregistry cannot warm up tf32_hc_prenorm_gemm n=24 k=1024 num_splits=4: DeepGEMM compiles on demand"
    assert got["text"].count(told) == 1


def test_no_warm_up_where_it_is_not_wanted_or_cannot_be(tmp_path: Path) -> None:
    got = watched(
        """
        import torch
        capturing = torch.cuda.is_current_stream_capturing
        torch.cuda.is_current_stream_capturing = lambda: True
        call(2, 4)
        torch.cuda.is_current_stream_capturing = capturing
        with engine.warming_up():
            call(2, 4)
        kind = type(engine.registry["tf32_hc_prenorm_gemm"])
        kind.collective = lambda self, shape: "waits for other ranks"
        call(2, 4)
        del kind.collective
        try:
            deep_gemm.tf32_hc_prenorm_gemm(1, 2, 3)
        except Exception as error:
            said = type(error).__name__
        during = ours()
        wanted = False
        call(2, 4)
        answer(during=during, after=ours(), warmed=len(manifests), said=said)
        """,
        tmp_path,
    )
    assert got["during"] == [True, True, False] and got["after"] == [False, False, True]
    assert got["warmed"] == 0 and got["said"] == "TypeError"


def test_a_watch_that_fails_is_logged_and_ends(tmp_path: Path) -> None:
    """The engine's own function is at fault here: it is not as the integration expects it."""
    got = watched(
        """
        del wanted
        call(2, 4)
        call(2, 4)
        answer(after=ours(), text=text.getvalue(), warmed=len(manifests))
        """,
        tmp_path,
    )
    assert got["after"] == [False, False, True] and got["warmed"] == 0
    assert got["text"].count("kregistry: first calls are not watched any more: DeepGEMM compiles on demand") == 1
    assert "NameError: name 'wanted' is not defined" in got["text"]


@pytest.mark.nvcc
def test_the_watch_of_a_server_ends_by_phase(tmp_path: Path) -> None:
    """Functions that were called before the server is ready are DeepGEMM's own then; others, after some calls."""
    got = watched(
        """
        first_calls._QUIET_CALLS = 3
        first_calls._SETTLED_CALLS = 4
        ready = False
        watch.is_ready = lambda: ready
        live = []
        class Missing:
            key = ""
            def while_starting(self, entries):
                live.append(["starting", len(entries)])
            def in_live_traffic(self, entries, m):
                live.append([entries[0].kernel_type, m])
        watch.missing = Missing()
        for _ in range(5):
            call(2, 3)
        starting = ours()
        ready = True
        call(9, 3)
        after_ready = ours()
        call(9, 4)  # nobody looks any more
        args, kwargs = fp8(4)
        calls = []
        for _ in range(7):
            deep_gemm.fp8_gemm_nt(*args, **kwargs)
            calls.append(ours()[1])
        answer(starting=starting, after_ready=after_ready, calls=calls, live=live, warmed=len(manifests))
        """,
        tmp_path,
    )
    assert got["starting"] == [True, True, False]
    assert got["after_ready"] == [False, True, True]
    assert got["calls"] == [True] * 4 + [False] * 3  # the first was new, four were not
    assert got["live"] == [["starting", 1], ["fp8_gemm_nt", 4]] and got["warmed"] == 1


def test_nothing_is_launched_while_the_engine_measures_its_memory(tmp_path: Path) -> None:
    got = watched(
        """
        watch.may_launch = lambda: False
        loaded = []
        engine.load_what_was_built_ahead = lambda: loaded.append(1)
        call(2, 3)
        before = [len(manifests), len(loaded)]
        watch.may_launch = lambda: True
        engine.warm = lambda entries: manifests.append(len(list(entries)))
        call(2, 3)
        answer(before=before, after=[len(manifests), len(loaded)])
        """,
        tmp_path,
    )
    assert got == {"before": [0, 0], "after": [1, 1]}
