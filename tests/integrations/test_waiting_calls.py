"""A call that waits for a running build has its own kernel compiled first, and goes on when that one is there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from compilers import slow_toolkit
from on_stub import PRELUDE, answer
from small_kernels import small_kernel

from kregistry.compile.priorities import Priorities
from kregistry.events.planned import PlannedEntry, Segment
from kregistry.integrations.ahead import Ahead, Waited
from kregistry.integrations.start_folder import StartFolder, Status
from kregistry.integrations.waiting_calls import AnswersCalls, WaitingCall, ask, is_absent
from kregistry.manifest import Entry, load_manifest
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.target import get_target
from kregistry.toolchain import Toolchain
from manifests import with_kernels

SHAPE = {"n": 24, "k": 1024, "num_splits": 3}


@pytest.fixture
def start(tmp_path: Path) -> StartFolder:
    return StartFolder.create(Store(tmp_path / "store"))


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """The only entry of the manifest: :data:`SHAPE` at m from 1 to 8."""
    path = tmp_path / "kernels.yaml"
    path.write_text(with_kernels("{type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 1024, num_splits: 3}, m: {stop: 8}}"))
    (entry,) = load_manifest(path, Registry(), get_target("h100")).entries
    return entry


def test_a_call_is_answered_once_its_kernels_are_in_place(start: StartFolder, entry: Entry) -> None:
    first, second = small_kernel("first"), small_kernel("second")
    asked: list[set[str]] = []

    def follow(keys: Collection[str]) -> None:
        asked.append(set(keys))

    priorities = Priorities()
    answers = AnswersCalls(start, Registry(), priorities)
    answer = ask(start, WaitingCall("tf32_hc_prenorm_gemm", SHAPE, 7))
    assert ask(start, WaitingCall("tf32_hc_prenorm_gemm", dict(SHAPE), 7)) == answer  # of another rank
    never = ask(start, WaitingCall("tf32_hc_prenorm_gemm", {**SHAPE, "num_splits": 4}, 7))
    with priorities.followed_by(follow):
        asked.clear()
        answers.answer()
        assert not asked  # not planned
        for kernel in (first, second):
            answers.kregistry_kernel_planned(kernel)
        segments = Segment(1, 4, (first.id,)), Segment(5, 8, (first.id, second.id))
        answers.kregistry_entry_planned(PlannedEntry(entry, segments))
        answers.kregistry_kernel_found(first)
        answers.answer()
        answers.answer()
        assert asked == [{first.key, second.key}] and not answer.exists()
        failed: Any = None
        answers.kregistry_kernel_failed(second, failed)
        answers.answer()
    assert answer.exists() and not never.exists() and not is_absent(never)


def test_a_call_outside_the_manifest_is_told_so_at_once(start: StartFolder, entry: Entry) -> None:
    """Also one that no planned segment holds, though the range does: DeepGEMM's host code refuses it there."""
    answers = AnswersCalls(start, Registry(), Priorities())
    names = {
        "other shape": WaitingCall("tf32_hc_prenorm_gemm", {**SHAPE, "num_splits": 4}, 7),
        "larger": WaitingCall("tf32_hc_prenorm_gemm", SHAPE, 9),
        "other type": WaitingCall("fp8_gemm_nt", {"n": 512, "k": 1024}, 7),
        "refused": WaitingCall("tf32_hc_prenorm_gemm", SHAPE, 8),
    }
    asked = {name: ask(start, call) for name, call in names.items()}
    damaged = start.directory / "calls" / "damaged.json"
    damaged.write_text("{")
    answers.answer()
    assert not any(map(is_absent, asked.values()))  # nobody knows yet what is built
    answers.builds((entry,))
    answers.answer()
    assert [name for name, answer in asked.items() if not is_absent(answer)] == ["refused"]
    answers.kregistry_entry_planned(PlannedEntry(entry, (Segment(1, 7, ("a kernel",)),)))
    answers.answer()
    assert is_absent(asked["refused"]) and is_absent(damaged)
    assert not any(answer.exists() for answer in asked.values())


def test_a_folder_that_cannot_be_written_leaves_a_call_waiting_for_the_whole_build(
    start: StartFolder, caplog: pytest.LogCaptureFixture
) -> None:
    start.write_status(Status("planning", os.getpid()))
    (start.directory / "calls").write_text("in the way")
    ahead = Ahead(start, Registry(load_entry_points=False), Store(start.directory))
    assert ahead.builds

    def fail() -> None:
        while "a call waits for the whole build" not in caplog.text:
            time.sleep(0.01)
        start.write_status(Status("failed", os.getpid(), text="on purpose"))

    threading.Thread(target=fail, daemon=True).start()
    assert ahead.wait_for_call("fp8_gemm_nt", {"n": 512}, 3) is Waited.EVERYTHING
    assert ahead.wait() is None
    assert "on purpose" in caplog.text


BUILD = """
import pathlib
from kregistry.integrations import first_calls
from kregistry.integrations.build_ahead import start_build
from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.integrations.start_folder import Request, StartFolder
engine = EngineWarmup("engine")
watch = first_calls.FirstCalls(engine, [], lambda: 8)
watch.watch(deep_gemm)
deep_gemm.get_num_sms()
start = StartFolder.create(engine.store)
start.write_request(Request("sglang", "m", automatic=False))
start_build(start, {})
engine.begin(start)
root = pathlib.Path(os.environ["DG_JIT_CACHE_DIR"], "cache")

def call(splits):
    args, kwargs = hc(5, splits)
    deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)

def on_disk():
    # Kernels that the build has made: what DeepGEMM compiles on the stub is no ELF.
    return sum(path.read_bytes().startswith(b"\\x7fELF") for path in root.glob("*/kernel.cubin"))
"""


def answer_of_server(code: str, directory: Path, toolkit: Path) -> Any:
    """What code after :data:`BUILD` answers, in a process whose manifest has twelve entries of one kernel type."""
    shapes = (f"{{n: 24, k: 1024, num_splits: {splits}}}" for splits in range(1, 13))
    kernels = [f"{{type: tf32_hc_prenorm_gemm, shape: {shape}, m: {{stop: 8}}}}" for shape in shapes]
    (directory / "kernels.yaml").write_text(with_kernels(*kernels))
    return answer(
        code,
        directory,
        prelude=PRELUDE + BUILD,
        KREGISTRY_STORE=str(directory / "store"),
        KREGISTRY_MANIFEST=str(directory / "kernels.yaml"),
        DG_JIT_CACHE_DIR=str(directory / "cache"),
        KREGISTRY_NVCC=str(toolkit / "bin" / "nvcc"),  # what the stand-in of the stub says the compiler is
    )


@pytest.mark.slow
def test_the_kernel_of_a_call_is_compiled_before_the_others(tmp_path: Path, toolchain: Toolchain, cubin: bytes) -> None:
    """Without that, the call waits for all of them."""
    slow = slow_toolkit(tmp_path / "cuda", toolchain, cubin, 0.5)
    got = answer_of_server(
        """
        call(12)
        state, then = start.read_status().state, on_disk()
        call(11)
        loaded = len(engine.coverage._entries)
        pathlib.Path(os.environ["KREGISTRY_NVCC"]).parent.with_name("go").touch()
        engine._ahead.wait()
        call(10)
        answer(state=state, then=then, loaded=loaded, end=on_disk(), covered=len(engine.coverage._entries),
               asked=len(list((start.directory / "calls").glob("*.ready"))), log=start.log.read_text())
        """,
        tmp_path,
        slow,
    )
    assert got["state"] == "planning" and 1 <= got["then"] < 12, got
    assert got["loaded"] == 0 and got["end"] == 12 and got["covered"] == 1
    assert got["asked"] == 2 and "a call waits for" in got["log"]


@pytest.mark.slow
def test_a_call_outside_the_manifest_waits_for_no_build(tmp_path: Path, toolchain: Toolchain, cubin: bytes) -> None:
    """DeepGEMM compiles its kernel at once; the running build makes the rest of its range, and all of it is loaded."""
    slow = slow_toolkit(tmp_path / "cuda", toolchain, cubin, 600)
    got = answer_of_server(
        """
        import io, logging
        text = io.StringIO()
        logging.getLogger("kregistry").addHandler(logging.StreamHandler(text))
        logging.getLogger("kregistry").setLevel(logging.INFO)
        from kregistry.integrations.remembered_calls import model_key
        watch.missing.key = model_key(start.read_request())

        def dense(m, n=512):
            args, kwargs = fp8(m, n)
            deep_gemm.fp8_gemm_nt(*args, **kwargs)

        dense(1)
        state, then = start.read_status().state, on_disk()
        pathlib.Path(os.environ["KREGISTRY_NVCC"]).parent.with_name("go").touch()
        dense(1)
        engine._ahead.wait()
        before = {path.parent.name for path in root.glob("*/kernel.cubin")}
        for m in range(1, 9):
            dense(m)
        after = {path.parent.name for path in root.glob("*/kernel.cubin")}
        dense(1, 768)  # now that the build has ended
        goes_on = engine.builds_ahead
        engine._ahead.wait()
        dense(2, 768)
        answer(goes_on=goes_on, folders=len(start.all_builds()), ended=engine.is_loaded,
               further=start.all_builds()[-1].read_status().kernels,
               entries=len(engine.coverage._entries["fp8_gemm_nt"]),
               state=state, then=then, late=sorted(after - before), covered=sorted(engine.coverage._entries),
               status=start.read_status().state, kernels=start.read_status().kernels, text=text.getvalue(),
               log=start.log.read_text())
        """,
        tmp_path,
        slow,
    )
    assert got["state"] == "planning" and got["then"] == 0, got
    assert got["status"] == "done" and got["kernels"] > 12 and got["late"] == []
    assert got["covered"] == ["fp8_gemm_nt", "tf32_hc_prenorm_gemm"]
    assert got["text"].count("at m 1 was in no manifest: DeepGEMM compiles its kernel now") == 2
    assert got["goes_on"] and got["ended"] and got["folders"] == got["entries"] == 2
    assert got["further"] >= got["kernels"]
    assert "they are built now" in got["log"]
