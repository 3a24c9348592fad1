"""The key of a call, by which a watched call that needs nothing is not read again; on the stub GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from on_stub import PRELUDE, answer

SIGNATURES = """
from kregistry.deep_gemm.known_settings import KNOWN, NUM_SMS
from kregistry.integrations.call_signature import call_signature

def key(*args, settings=(), **kwargs):
    return call_signature(args, kwargs, settings)

def tensor(*sizes, dtype=torch.float32, device="cuda"):
    return torch.empty(*sizes, dtype=dtype, device=device)
"""


def test_calls_that_may_be_read_differently_have_different_keys(tmp_path: Path) -> None:
    got = answer(
        """
        one, other = tensor(4, 8), tensor(4, 8)
        different = [
            key(tensor(4, 8)), key(tensor(4, 9)), key(tensor(8, 4).t()), key(tensor(4, 8, dtype=torch.bfloat16)),
            key((tensor(4, 8),)), key(tensor(4, 8), None), key(x=tensor(4, 8)), key(y=tensor(4, 8)),
            key(one, other), key(one, one),
            key(1), key(True), key(1.0), key("1"), key(0), key(False), key(None), key([1, 2]), key(torch.float32),
        ]
        same = [
            [key(tensor(4, 8), (1, 128)), key(tensor(4, 8), (1, 128))],
            [key(one, other), key(other, one)],
            [key(*hc(3)[0]), key(*hc(3)[0])],
        ]
        none = [key(tensor(4, 8, device="cpu")), key(object()), key(lambda: None)]
        answer(different=len(set(different)), known=None not in different, same=[a == b for a, b in same], none=none)
        """,
        tmp_path,
        prelude=PRELUDE + SIGNATURES,
    )
    assert got["different"] == 19 and got["known"]
    assert got["same"] == [True] * 3 and got["none"] == [None] * 3


def test_a_setting_that_changes_changes_the_key(tmp_path: Path) -> None:
    got = answer(
        """
        keys = [key(1, settings=KNOWN)]
        deep_gemm.set_num_sms(64)
        keys.append(key(1, settings=KNOWN))
        others = [each for each in KNOWN if each is not NUM_SMS]
        answer(changed=keys[0] != keys[1], none=None in keys, own=key(1, settings=others) == key(1, settings=others))
        """,
        tmp_path,
        prelude=PRELUDE + SIGNATURES,
    )
    assert got == {"changed": True, "none": False, "own": True}


WATCH = """
from kregistry.integrations import first_calls
from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.manifest import Manifest
read = []
own = first_calls.recognise
def recognise(registry, name, args, kwargs):
    found = own(registry, name, args, kwargs)
    if found:
        read.append(found[2])
    return found
first_calls.recognise = recognise
engine = EngineWarmup("engine")
new = []
watch = first_calls.FirstCalls(engine, [], lambda: 16)
watch._first_call = lambda kernel_type, shape, m, live: new.append(m)
watch.watch(deep_gemm)

def call(m):
    args, kwargs = fp8(m)
    deep_gemm.fp8_gemm_nt(*args, **kwargs)
"""


@pytest.mark.parametrize("covered", [False, True])
def test_a_call_that_is_covered_is_read_once(tmp_path: Path, covered: bool) -> None:
    """One that is not covered is read each time, since a build may make its kernels meanwhile."""
    got = answer(
        f"""
        entry = engine.entry("fp8_gemm_nt", {{"n": 512, "k": 1024}}, 16)
        if {covered}:
            engine.coverage.add(Manifest("x", engine.target, ("x",), (entry,), {{}}))
        for m in (3, 3, 3, 5, 3, 5):
            call(m)
        [watched] = [each for each in watch._functions if "fp8_gemm_nt" in each.names]
        calls, before = watched.calls, list(read)
        deep_gemm.set_num_sms(64)
        call(3)
        answer(calls=calls, read=before, after=read[len(before) :], new=new)
        """,
        tmp_path,
        prelude=PRELUDE + WATCH,
    )
    assert got["calls"] == 6
    if covered:
        assert got["read"] == [3, 5]
    else:
        assert got["read"] == [3, 3, 3, 5, 3, 5] and got["new"][:1] == [3]
    assert got["after"] == [3]  # a setting has changed since
