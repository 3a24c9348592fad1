"""Readers of what builds, remotes and shells leave or name: each with a valid file; see readers.py."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from attrs import evolve
from click.shell_completion import ShellComplete
from readers import EVENT, MANIFEST, PLAN, Reader, as_json, registry
from signing import policy_text, signing_key

from kregistry.bounded_input import read_bounded
from kregistry.cli import cli, complete
from kregistry.cli.output_file import is_lock_file, is_own_output, with_digest
from kregistry.compile.build_log import BuildLog, read_build_log
from kregistry.compile.shard import Shard
from kregistry.deep_gemm import remembered
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import InputError
from kregistry.events.jit import JitEvent
from kregistry.integrations.start_folder import StartFolder
from kregistry.plan.lock import plan_of_lock
from kregistry.plan.plan import Plan
from kregistry.plan.plan_file import read_plan
from kregistry.remote.bundle import BundleTier, compressed, tar_of
from kregistry.remote.location import Location
from kregistry.remote.tier import TierError
from kregistry.remote.tier_use import TierUse
from kregistry.remote.usage import Usage, read_usage
from kregistry.remote.usage_metrics import prometheus_text
from kregistry.report.kernel_facts import kernel_facts
from kregistry.report.page import page
from kregistry.report.page_contents import Comparison, PageContents
from kregistry.report.selection import EntrySelection
from kregistry.report.text_map import Colours, axis_line, bar, kernel_lines
from kregistry.report.trace import chrome_trace
from kregistry.report.why import explain
from kregistry.store import Store, packed, signed_json
from kregistry.store.claims import Claims
from kregistry.store.contents import Contents
from kregistry.store.failures import BrokenKernels
from kregistry.store.store import DamagedEntry
from kregistry.trust.envelope import Envelope
from kregistry.trust.keys import SigningKey
from kregistry.trust.policy import Policy
from kregistry.trust.seal import open_seal
from kregistry.trust.statement import Provenance, Statement, statement_of

KEY = "ab" * 32
_SOURCE = (
    "#include <deep_gemm/impls/gemm.cuh>\nusing namespace deep_gemm;\nstatic void __instantiate_kernel() {\n"
    "    auto ptr = reinterpret_cast<void*>(&gemm_impl<128, 64, cutlass::bfloat16_t, true>);\n};\n"
)
_ENTRY = {
    "model": "v3", "type": "tf32_hc_prenorm_gemm", "label": "q", "shape": {"n": 24, "k": 256},
    "range": {"name": "m", "start": 1, "stop": 8, "step": 1},
    "segments": [
        {"start": 1, "stop": 2, "kernels": ["gemm.a"]},
        {"start": 3, "stop": 6, "kernels": []},
        {"start": 7, "stop": 8, "kernels": ["gemm.a"]},
    ],
    "refusals": [{"start": 9, "stop": 9, "reason": "x"}], "error": None,
}  # fmt: skip
LOCK: dict[str, Any] = {
    **PLAN,
    "entries": [_ENTRY, {**_ENTRY, "shape": {"n": 24, "k": 512}}],
    "sources": {
        "nvcc": "3", "directories": {"d" * 64: {"a.h": "e" * 64}}, "toolkit": {"cuda.h": "f" * 64},
        "kernels": {"gemm.a": {"source": _SOURCE, "flags": ["-O3"], "headers": ["d" * 64, "toolkit"]}},
    },
}  # fmt: skip
BUILD: dict[str, Any] = {
    "log_version": 1, "id": "20261130T000000-1", "kregistry": "1", "started": 1000.5, "seconds": 3.5, "jobs": 2,
    "cores": 2, "models": ["v3"], "target": "h100", "versions": {"torch": "2"}, "fingerprint": "f" * 32,
    "reused": False, "environment": {"DG_X": "1"}, "cache_directory": "/x", "cpu": [[0.5, 1.5], [1.5, 2]],
    "tasks": [
        {"stage": stage, "text": "gemm", "worker": f"worker {n % 2}", "kernels": ["gemm.a"], "started": 1000 + n / 100,
         "seconds": 0.005 * n}
        for n, stage in enumerate(("start", "plan", "parse", "generate", "assemble", "alone", "compare"))
    ],
    "kernels": {"gemm.a": {"tier": "compiled", "seconds": 1.5, "bytes": 100}},
}  # fmt: skip


@cache
def _plan() -> Plan:
    return _plan_in(LOCK)


def _plan_in(content: Mapping[str, Any]) -> Plan:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "kernels.lock")
        path.write_text(json.dumps(content))
        return plan_of_lock(path, registry())


def _draw(plan: Plan, directory: Path, log: BuildLog | None = None, events: tuple[JitEvent, ...] = ()) -> None:
    """All pictures of a plan and a build."""
    facts = kernel_facts(plan, Store(directory), JitCache(directory), log)
    page(PageContents("x", plan, facts, log, {}, None, ("jit.jsonl", events)))
    colours = Colours(facts, styled=True)
    for planned in plan.entries:
        axis_line(planned.entry.range, 80)
        bar(planned, colours, 80)
        list(kernel_lines(planned, facts, colours))
        list(explain(planned, planned.entry.range.start, facts, "1", "h100"))


def _report(path: Path) -> None:
    plan = plan_of_lock(path, registry())
    _draw(plan, path.parent)
    Comparison.with_plan("old", read_plan(path), _plan())


def _build_log(path: Path) -> None:
    log = read_build_log(path.parent.parent, path.stem)
    chrome_trace(log)
    _draw(_plan(), path.parent, log)


def _seen(path: Path) -> None:
    from kregistry.cli.monitor_command import read_events

    events, _ = read_events(path)
    _draw(_plan(), path.parent, events=tuple(events))


def _show(path: Path) -> None:
    words = tuple(path.read_text(errors="replace").split("\n"))
    plan = _plan()
    chosen = EntrySelection.parse(words)
    for planned in chosen.find(plan.entries, Path("x.yaml")):
        chosen.m(planned)


def _complete(path: Path) -> None:
    with patch.object(complete, "_registry", registry):  # finding the plugins takes a tenth of a second
        shell = ShellComplete(cli, {}, "kregistry", "_KREGISTRY_COMPLETE")
        found = shell.get_completions(["show", "-f", str(path)], "")
        for offered in (*found, *shell.get_completions(["plan", str(path), "-m"], "")):
            assert not set(offered.value) & set("$`;&|<>*?()[]{}'\"\\ \t\n#!~\x1b"), offered.value
            assert (offered.help or "").isprintable(), offered.help


def _bundle(path: Path) -> None:
    try:
        tier = BundleTier(path)
    except TierError as error:
        raise InputError(str(error)) from error
    name = f"v1/kernels/{KEY[:2]}/{KEY}"
    if tier.has(name):
        with contextlib.suppress(DamagedEntry):
            packed.unpack(KEY, tier.get(name) or b"")


def _object(path: Path) -> None:
    with contextlib.suppress(DamagedEntry):
        packed.unpack(KEY, path.read_bytes())


def _record(path: Path) -> None:
    with contextlib.suppress(DamagedEntry):
        Store(path.parents[3]).get(KEY)
    plan = _plan()
    kernels = {name: evolve(kernel, key=KEY) for name, kernel in plan.kernels.items()}
    kernel_facts(evolve(plan, kernels=kernels), Store(path.parents[3]), JitCache(path.parent))


def _remembered(path: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        remembered._read(path)


def _policy(path: Path) -> None:
    path.chmod(0o600) if path.is_file() else None  # one that others can write is refused
    Policy.read(path)


def _envelope(path: Path) -> None:
    with contextlib.suppress(ValueError, OSError):
        Statement.parse(Envelope.read(read_bounded(path)).payload)
    with contextlib.suppress(ValueError, OSError, DamagedEntry):
        open_seal(read_bounded(path))
    with contextlib.suppress(ValueError, OSError):  # as if its signature were right
        Statement.parse(read_bounded(path))


def _usage(path: Path) -> None:
    usage = read_usage(path.parents[1])
    prometheus_text(usage, Contents())
    time.localtime(usage.since)
    json.dumps(usage.to_json())


_RECORD = {"key": KEY, "sha256": hashlib.sha256(b"x").hexdigest(), "bytes": 1, "seconds": 0.5}
_HEADERS = json.dumps({"digest": "d", "paths": {"/x": [1, 2], "/y": None}}).encode()
_PEM = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g
-----END PRIVATE KEY-----
"""
_STATEMENT = statement_of("kernels", {KEY: "a" * 64}, Provenance("h100", {"torch": "2"}), 5, {"s": "b" * 64})
_USAGE = Usage(1, 1000.0, 2, 3, 4, 5.5, {"s3://b": TierUse("s3://b", hits=1)}).to_json()
_NOTE = {"host": "h", "pid": 1}

RESULTS: Mapping[str, Reader] = {
    "lock in a report": Reader(as_json(LOCK), _report, "kernels.lock"),
    "build record": Reader(as_json(BUILD), _build_log, "builds/20261130T000000-1.json"),
    "log in a report": Reader(json.dumps(EVENT).encode() + b"\n" + json.dumps(EVENT).encode(), _seen, "j.jsonl"),
    "words of show": Reader(b"tf32_hc_prenorm_gemm\nx.yaml\nn=24\nm=3\nk=256", _show, "words"),
    "completion": Reader(MANIFEST.encode(), _complete, "kernels.yaml"),
    "bundle": Reader(compressed(tar_of([(f"v1/kernels/{KEY[:2]}/{KEY}", b"x" * 700)])), _bundle, "k.tar.gz"),
    "object": Reader(b"kregistry kernel 1\n2\n{}" + signed_json.encode(_RECORD) + b"x", _object, "object"),
    "record": Reader(signed_json.encode(_RECORD), _record, f"kernels/{KEY[:2]}/{KEY}/kernel.json"),
    "broken": Reader(
        signed_json.encode({"key": KEY, "command": "x", "output": "y"}),
        lambda path: BrokenKernels(path.parents[2]).holds(KEY),
        f"broken/{KEY[:2]}/{KEY}.json",
    ),
    "claim": Reader(as_json(_NOTE), lambda path: Claims(path.parent).owner(path.name), "claim"),
    "remembered digest": Reader(
        hashlib.sha256(_HEADERS).hexdigest().encode() + b"\n" + _HEADERS, _remembered, "headers.json"
    ),
    "status of a start": Reader(
        as_json({"state": "done", "pid": 1}), lambda path: StartFolder(path.parent).read_status(), "status.json"
    ),
    "existing output": Reader(
        with_digest("a: 1\n").encode(), lambda path: (is_own_output(path), is_lock_file(path)), "out.yaml"
    ),
    "remotes": Reader(
        b"s3://bucket/k?ro, https://u:p@cdn/k /srv/kernels?unsigned",
        lambda path: Location.parse_all(path.read_text(errors="replace")),
        "url",
    ),
    "policy": Reader(policy_text("a", "b").encode(), _policy, "trust.yaml"),
    "private key": Reader(_PEM, SigningKey.read, "key.pem"),
    "envelope": Reader(Envelope.sign(_STATEMENT, [signing_key("a")]).encoded(), _envelope, "k.dsse.json"),
    "usage": Reader(as_json(_USAGE), _usage, "usage/count.json"),
    "shard": Reader(b"2/5", lambda path: Shard.parse(path.read_text(errors="replace")), "shard"),
}  # fmt: skip
