"""How many cores of this machine are in use, sampled while a build runs."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

#: Seconds between two samples.
_INTERVAL = 0.5


class CpuSamples:
    """A thread that samples ``/proc/stat``; use as a context manager.

    Attributes:
        samples: (seconds since the start, mean number of cores in use since the sample before).
    """

    def __init__(self, interval: float = _INTERVAL) -> None:
        self.samples: list[tuple[float, float]] = []
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="cpu samples", daemon=True)

    def __enter__(self) -> CpuSamples:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        cores = os.sched_getaffinity(0)
        started = last = time.monotonic()
        before = _busy_seconds(cores)
        while before is not None and not self._ended.wait(self._interval):
            now, busy = time.monotonic(), _busy_seconds(cores)
            if busy is None:
                return
            self.samples.append((round(now - started, 2), round((busy - before) / (now - last), 2)))
            last, before = now, busy


def _busy_seconds(cores: set[int]) -> float | None:
    """CPU seconds of some cores, without idle time; ``None`` where the kernel does not say."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    busy = 0
    for line in lines:
        name, *numbers = line.split()
        if name.startswith("cpu") and name != "cpu" and int(name[3:]) in cores:
            ticks = [int(number) for number in numbers]
            busy += sum(ticks[:8]) - ticks[3] - ticks[4]  # without idle and iowait; guests count as user already
    return busy / os.sysconf("SC_CLK_TCK")
