"""Full disks: a tmpfs of many sizes at each place that is written. Needs the right to mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from faults_parts.common import RUN, Campaign, Tally, command, ended, forked


@contextmanager
def tmpfs(path: Path, kib: int) -> Iterator[None]:
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=755,size={kib}k", "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def can_mount(place: Path) -> bool:
    try:
        with tmpfs(place / "try", 64):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def disks(campaign: Campaign, counts: Mapping[str, int], tally: Tally) -> None:
    """Store, JIT cache, lock file, manifest, and TMPDIR while planning."""
    place = campaign.place(tally.part)
    if not can_mount(place):
        tally.counts["skipped: no right to mount"] = 1
        return
    for number in range(counts["disks"]):
        kib = 4 * (number + 1)
        _builds(campaign, place / f"s{number}", "store", kib, campaign.fast, tally)
        _builds(campaign, place / f"j{number}", "cache", kib, campaign.fast, tally)
        _output(campaign, place / f"l{number}", 4 * (number % 8 + 1), tally)
    for number in range(counts["nvcc_disks"]):
        _builds(campaign, place / f"n{number}", "store", 64 << number, campaign.nvcc, tally)
    for number in range(counts["plan_disks"]):
        _plan(campaign, place / f"p{number}", 16 << number, tally)


def _builds(campaign: Campaign, place: Path, which: str, kib: int, nvcc: Path, tally: Tally) -> None:
    store, cache = place / "store", place / "cache"
    with tmpfs(place / which, kib):
        code = ended(forked(lambda: campaign.build(store, cache, nvcc)))
        tally.counts[f"{which}{' with nvcc' if nvcc == campaign.nvcc else ''}: exit {code}"] += 1
        if code not in (0, 4):
            tally.fault(f"{which} of {kib} KiB: exit code {code}")
        for text in campaign.damages(store, cache):
            tally.fault(f"{which} of {kib} KiB: {text}")
        if list(store.glob("broken/*/*.json")):
            tally.fault(f"{which} of {kib} KiB: a verdict about a kernel")
        if code == 0 and campaign.missing(store, cache):
            tally.fault(f"{which} of {kib} KiB: exit 0, and kernels are missing")


def _output(campaign: Campaign, place: Path, kib: int, tally: Tally) -> None:
    """A file that was there stays as it is, or is replaced as a whole."""
    from kregistry.errors import StorageError
    from kregistry.store.atomic import write_output

    with tmpfs(place, kib):
        path = place / "kernels.lock"
        path.write_bytes(b"old" * 500)
        new = os.urandom(2048 * kib)
        try:
            write_output(path, new)
            tally.counts["output: written"] += 1
        except StorageError:
            tally.counts["output: exit 4"] += 1
        if path.read_bytes() not in (b"old" * 500, new) or len(list(place.iterdir())) != 1:
            tally.fault(f"output of {kib} KiB: the old file is damaged, or something is left")


def _plan(campaign: Campaign, place: Path, kib: int, tally: Tally) -> None:
    temporary, lock = place / "tmp", place / "kernels.lock"
    with tmpfs(temporary, kib):
        environment = {**os.environ, "TMPDIR": str(temporary)}
        arguments = ("plan", campaign.manifest, "-o", lock, "--store", place / "store", "--replan")
        done = subprocess.run(command(*arguments), env=environment, capture_output=True, text=True)
        tally.counts[f"plan: exit {done.returncode}"] += 1
        if done.returncode not in (0, 4) or "Traceback" in done.stderr:
            tally.fault(f"TMPDIR of {kib} KiB: exit code {done.returncode}: {done.stderr[-300:]}")
        if done.returncode and lock.exists():
            tally.fault(f"TMPDIR of {kib} KiB: a lock file was written")
    assert RUN in os.environ
