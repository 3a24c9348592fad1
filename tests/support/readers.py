"""Every reader of a file that is not ours: a valid file, and a function that reads it from a path."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from attrs import asdict, frozen

from kregistry.cli.monitor_command import read_events
from kregistry.compile.costs import Costs
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.errors import KregistryError
from kregistry.hf_config.config import read_config
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.installed_families import installed_families
from kregistry.hf_config.manifest_text import refuse_unusable, render
from kregistry.hf_config.resolve import model_calls
from kregistry.manifest import load_manifest, named_target
from kregistry.manifest.writer import dump_manifest
from kregistry.plan.plan_file import read_plan
from kregistry.recording.manifest_building import build_manifest
from kregistry.recording.recorded_call import CallLine, ProblemLine, TargetLine, write_line
from kregistry.recording.recorded_run import RecordedRun, recorded_target
from kregistry.recording.recording import Recording
from kregistry.recording.usable_calls import usable_calls
from kregistry.registry import Registry
from kregistry.store import signed_json
from kregistry.target import TARGETS

MANIFEST = """version: 1
target: h100
defaults: {m: {stop: 64}}
providers: {}
models:
  deepseek-v3:
    description: tp 8
    kernels:
      - {type: fp8_gemm_nt, label: q_b, shape: {n: [24, 48], k: 512}, m: {start: 1, stop: 128, step: 1}}
      - {type: tf32_hc_prenorm_gemm, label: "hc", shape: [{n: 24, k: 256}, {n: 24, k: 512, num_splits: none}]}
      - &a {type: m_grouped_fp8_gemm_nt_masked, shape: {num_groups: 4, n: 512, k: 512}, expected_m: {stop: 8}}
x-note: [*a, 1.5, true, null]
"""
TARGET = """name: mine
device_name: NVIDIA H100
compute_capability: "9.0"
num_sms: 132
l2_bytes: 52428800
memory_bytes: 85899345920
"""
CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 61,
    "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 256, "n_shared_experts": 1,
    "num_experts_per_tok": 8, "first_k_dense_replace": 3, "vocab_size": 129280,
    "quantization_config": {
        "quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic",
        "ignored_layers": ["re:.*gate$", "lm_head", "model.layers.3"],
    },
}  # fmt: skip
EVENT = {
    "time": 1.5, "pid": 7, "process": "serve", "kernel": "sm90_fp8_gemm_1d2d", "template": ["128", "64"],
    "outcome": "compiled", "seconds": 2.5, "site": "a.py:1 in f", "stack": ["a.py:1 in f"],
    "kernel_type": "tf32_hc_prenorm_gemm", "shape": {"n": 24, "k": 1024, "num_splits": None}, "m": 3,
    "target": asdict(TARGETS["h100"]),
}  # fmt: skip
PLAN = {
    "lock_version": 1,
    "target": {"name": "h100", "compute_capability": "9.0", "num_sms": 132},
    "versions": {"deep_gemm": "1", "torch": "2", "nvcc": "3"},
    "kernels": {"gemm.a": {"name": "gemm", "key": "a" * 64, "arch": "sm_90a"}},
    "entries": [
        {
            "model": "v3", "type": "gemm", "label": "q", "shape": {"n": 8, "k": None},
            "range": {"name": "m", "start": 1, "stop": 8, "step": 1},
            "segments": [{"start": 1, "stop": 8, "kernels": ["gemm.a"]}],
            "refusals": [{"start": 9, "stop": 9, "reason": "x"}], "error": None,
        }
    ],
}  # fmt: skip
BUILT = {
    **PLAN,
    "fingerprint": "plan",
    "build": {
        "kernels": {"gemm.a": {"cache_entry": ".deep_gemm/cache/kernel.a", "cubin_file": "c", "files": ["k.cu"]}},
        "broken": {},
        "complete": True,
    },
}


@frozen
class Reader:
    """One reader.

    Attributes:
        valid: the content of a valid file.
        read: reads a file; it raises KregistryErrors only.
        name: of the file, where the reader wants a certain one.
    """

    valid: bytes
    read: Callable[[Path], object]
    name: str


@cache
def registry() -> Registry:
    return Registry()


def _init(path: Path) -> None:
    deployment = Deployment("sglang", TARGETS["h100"], tp=8, ep=None)
    calls = model_calls(read_config(path), deployment, registry(), installed_families().families)
    refuse_unusable(calls)
    render(calls, registry(), name="x", command="x", stops={})


def _monitor(path: Path) -> None:
    events, _ = read_events(path)
    recording = Recording()
    for event in events:
        str(event)
        if event.kernel_type and event.m is not None:
            recording.add(event.kernel_type, event.shape, event.m)
    _write(recording, recorded_target(event.target for event in events))


def _record(path: Path) -> None:
    run = RecordedRun(path.parent)
    _write(run.recording, run.target)


def _write(recording: Recording, target: object) -> None:
    calls, _ = usable_calls(recording.calls(), registry().__getitem__, target)  # type: ignore[arg-type]
    dump_manifest(build_manifest(calls, registry().__getitem__, target, "x"))  # type: ignore[arg-type]


_LINES = b"".join(
    map(
        write_line,
        (
            TargetLine(asdict(TARGETS["h100"])),
            CallLine("tf32_hc_prenorm_gemm", {"n": 24, "k": 1024, "num_splits": None}, 3),
            CallLine("fp8_gemm_nt", {"n": 512, "k": 1024, "scales": "f32"}, 8),
            ProblemLine("fp8_gemm_nt", "no kernel type can read the call"),
        ),
    )
)
_SIZES = {"gemm": {"one": 1000, "bytes": {"128, 64": 900, "a<b, c>, 2": 1100}}}


def as_json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


READERS: Mapping[str, Reader] = {
    "manifest": Reader(MANIFEST.encode(), lambda path: load_manifest(path, registry()), "kernels.yaml"),
    "target": Reader(TARGET.encode(), lambda path: named_target(str(path)), "target.yaml"),
    "lock": Reader(as_json(PLAN), read_plan, "kernels.lock"),
    "plan": Reader(signed_json.encode(BUILT), read_plan, "plan.json"),
    "config": Reader(as_json(CONFIG), _init, "config.json"),
    "monitor log": Reader(json.dumps(EVENT).encode() + b"\n" + json.dumps(EVENT).encode() + b"\n", _monitor, "j.jsonl"),
    "recording": Reader(_LINES, _record, "12.jsonl"),
    "costs": Reader(as_json({"gemm": [1.0, 2, 3.5]}), lambda path: Costs(path.parent).estimate("gemm"), "costs.json"),
    "sizes": Reader(as_json(_SIZES), lambda path: KernelSizes(path.parent), "ptx_bytes.json"),
}


def fault(reader: Reader, path: Path) -> str:
    """What is wrong with how a file is read; empty if it is read, or refused with a message for people."""
    try:
        reader.read(path)
    except KregistryError as error:
        message = str(error)
        return "" if message and len(message) < 60_000 else f"a message of {len(message)} characters"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""
