"""CPU time of a planning call, and how much of it is DeepGEMM's own host code, without a GPU.

    python benchmarks/plan_calls.py [--model deepseek-v3] [--target h100] [--stop 16384] [--json FILE]
    python benchmarks/plan_calls.py --compare     both ways must give the same segments and refusals, for each entry

For each entry of the model, in one process on the stub GPU: `python` is a sweep whose calls the kernel type makes,
`native` one whose calls are repeated natively (the default where the kernel type says that it can be). `share` is the
time inside of DeepGEMM's function: the loop in C alone, over the same values. All in microseconds of CPU a call; the
smallest of three sweeps, so that kernels are loaded already.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve

from kregistry import Registry, load_manifest
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import KernelType, Shape
from kregistry.manifest import Entry

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, default=ROOT / "kernels.yaml")
    parser.add_argument("--model", action="append", default=None)
    parser.add_argument("--target", default="h100")
    parser.add_argument("--stop", type=int, help="another end of all ranges")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if "KREGISTRY_STUB_NAME" not in os.environ:
        sys.exit(_on_the_stub(options.target))
    registry = Registry()
    manifest = load_manifest(options.manifest, registry, options.target).select(options.model or ["deepseek-v3"])
    entries = [entry if options.stop is None else _up_to(entry, options.stop) for entry in manifest.entries]
    measure = compare if options.compare else times
    rows = [measure(registry[entry.kernel_type], entry) for entry in entries]
    calls = sum(row["calls"] for row in rows)
    total: dict[str, Any] = {"entries": len(rows), "calls": calls}
    if options.compare:
        total["different"] = sum(not row["same"] for row in rows)
    else:
        for key in ("python", "native", "share"):
            total[key] = round(sum(row[key] * row["calls"] for row in rows) / calls, 2)
        total["native_less_share"] = round(total["native"] - total["share"], 2)
    print(total)
    if options.json:
        options.json.write_text(json.dumps({"total": total, "entries": rows}, indent=1) + "\n")
    sys.stdout.flush()
    os._exit(1 if total.get("different") else 0)  # an orderly end of torch takes a second


def _on_the_stub(target: str) -> int:
    """Run this program again, as a process of a dry run would."""
    from kregistry import get_target
    from kregistry.stub.library import calls_library
    from kregistry.stub.program import program_environment

    with program_environment(get_target(target)) as environment:
        stub = environment["LD_PRELOAD"].partition(":")[0]
        environment["LD_PRELOAD"] += f":{calls_library(Path(stub))}"
        environment.pop("KREGISTRY_STUB_COUNT_MEMORY")
        return subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode


def _up_to(entry: Entry, stop: int) -> Entry:
    return evolve(entry, range=evolve(entry.range, stop=stop - stop % entry.range.step))


def times(kernel_type: KernelType, entry: Entry) -> dict[str, Any]:
    """Microseconds of a call, by the way that it is made."""
    from kregistry.stub.recorder import Recorder
    from kregistry.stub.repeated_calls import FIRST, NotRepeatable, RepeatedCalls
    from kregistry.stub.sweeping import sweep

    recorder, values, shape = Recorder(), entry.range.values(), entry.shape
    with applied(kernel_type, shape):
        python = _least(partial(sweep, _by_python(kernel_type), shape, values, recorder, _nothing), len(values))
        native = _least(partial(sweep, kernel_type, shape, values, recorder, _nothing), len(values))
        buffers = kernel_type.allocate_buffers(shape, values[-1])
        rest = values[len([m for m in values[:FIRST] if m < FIRST]) :]
        try:
            calls = RepeatedCalls(partial(kernel_type.execute, buffers), rest[0], rest[-1])

            def repeat() -> None:
                recorder.reset()
                calls.make(rest, _nothing)

            share = _least(repeat, len(rest))
        except NotRepeatable as error:
            print(f"{entry}: {error}")
            share = python
    row = {"entry": str(entry), "calls": len(values), "python": python, "native": native, "share": share}
    print(row, flush=True)
    return row


def compare(kernel_type: KernelType, entry: Entry) -> dict[str, Any]:
    """Whether both ways find the same segments and refusals."""
    from kregistry.stub.recorder import Recorder
    from kregistry.stub.sweeping import sweep

    recorder, values, shape = Recorder(), entry.range.values(), entry.shape
    with applied(kernel_type, shape):
        found = [sweep(each, shape, values, recorder, _nothing) for each in (_by_python(kernel_type), kernel_type)]
    row = {
        "entry": str(entry),
        "calls": len(values),
        "repeated": kernel_type.linear_arguments(shape),
        "segments": len(found[0].segments),
        "same": found[0] == found[1] and not found[0].error,
    }
    print(row, flush=True)
    return row


def _by_python(kernel_type: KernelType) -> KernelType:
    """The same kernel type, which does not say that its calls can be repeated."""
    made = type(f"{type(kernel_type).__name__}ByPython", (type(kernel_type),), {"linear_arguments": _never})
    copy: KernelType = object.__new__(made)
    copy.__dict__.update(vars(kernel_type))
    return copy


def _never(kernel_type: KernelType, shape: Shape) -> bool:
    return False


def _nothing() -> None:
    pass


def _least(call: Callable[[], object], count: int) -> float:
    seconds = []
    for _ in range(3):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return round(min(seconds) / count * 1e6, 2)


if __name__ == "__main__":
    main()
