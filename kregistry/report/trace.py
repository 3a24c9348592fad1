"""A build as a Chrome trace, which ui.perfetto.dev and chrome://tracing open."""

from __future__ import annotations

from typing import Any

from kregistry.compile.build_log import BuildLog


def chrome_trace(log: BuildLog) -> dict[str, Any]:
    """The trace of a build: a process for planning and one for compiling, a thread for each worker; microseconds."""
    workers = {worker: tid for tid, worker in enumerate(sorted({task.worker for task in log.tasks}), start=1)}
    events: list[dict[str, Any]] = []
    for pid, name in ((1, "planning"), (2, "compiling")):
        events.append({"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}})
    for worker, tid in workers.items():
        pid = _process(worker)
        events.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": worker}})
    for task in log.tasks:
        events.append(
            {
                "ph": "X",
                "name": f"{task.stage} {task.text}",
                "cat": task.stage,
                "pid": _process(task.worker),
                "tid": workers[task.worker],
                "ts": round((task.started - log.started) * 1e6),
                "dur": round((task.seconds or 0.0) * 1e6),
                "args": {"kernels": list(task.kernels)},
            }
        )
    for seconds, cores in log.cpu:
        events.append(
            {
                "ph": "C",
                "name": "cores in use",
                "pid": 2,
                "tid": 0,
                "ts": round(seconds * 1e6),
                "args": {"cores": cores},
            }
        )
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"build": log.id, "target": log.target}}


def _process(worker: str) -> int:
    return 1 if worker.startswith("planner") else 2
