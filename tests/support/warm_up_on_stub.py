"""A serving process that warms up: MANIFEST STORE; prints the report and the events as JSON."""

from __future__ import annotations

import json
import sys

from events import EventLog

import kregistry
from kregistry import Registry


def main(manifest: str, store: str) -> None:
    registry, log = Registry(), EventLog()
    registry.listen(log)
    report = kregistry.warmup(manifest, "tiny", registry=registry, target="detect", store=store)
    report.raise_problems()
    registry.events.flush()
    build = report.build
    assert build is not None
    events = [[name, {key: str(value) for key, value in arguments.items()}] for name, arguments in log.calls]
    started = [name for name, _ in events].index("kregistry_warmup_started")
    print(json.dumps({"report": report.to_json(), "events": events[started:], "target": build.plan.target.name}))


if __name__ == "__main__":
    main(*sys.argv[1:])
