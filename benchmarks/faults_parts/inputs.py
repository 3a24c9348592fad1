"""Mutated inputs for each reader, in less than a gigabyte of memory."""

from __future__ import annotations

import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from faults_parts.common import Campaign, Tally, ended, forked

SUPPORT = Path(__file__).resolve().parents[2] / "tests" / "support"
_LIMIT = 1 << 30
_SECONDS = 30


def inputs(campaign: Campaign, counts: Mapping[str, int], tally: Tally) -> None:
    sys.path.insert(0, str(SUPPORT))
    from readers import READERS
    from readers_of_results import RESULTS

    every = {**READERS, **RESULTS}
    for name, reader in every.items():
        place = campaign.place(f"{tally.part}/{name.replace(' ', '-')}")
        report = place / "report.txt"
        started = time.monotonic()

        def work(name: str = name, place: Path = place, report: Path = report) -> int:
            from mutations import mutations
            from readers import fault

            reader = every[name]
            resource.setrlimit(resource.RLIMIT_AS, (_LIMIT, _LIMIT))
            path = place / reader.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with report.open("w") as out:
                for number, content in enumerate(mutations(reader.valid, counts["inputs"], campaign.seed)):
                    path.write_bytes(content)
                    signal.alarm(_SECONDS)  # ends the process: a hang
                    found = fault(reader, path)
                    signal.alarm(0)
                    if found:
                        out.write(f"{name} {number}: {found}\n")
                        out.flush()
            return 0

        code = ended(forked(work))
        tally.counts[f"{name}: inputs"] = counts["inputs"]
        tally.took(f"{name}, s", time.monotonic() - started)
        for line in report.read_text().splitlines():
            tally.fault(line)
        if code:
            tally.fault(f"{name}: the process ended with {code} (-14 is a hang)")
        assert reader.valid
