"""Kills, races and damages: builds that meet each other, SIGKILL, or what should not be there."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from faults_parts.common import Campaign, Tally, age, ended, forked, leftovers, seconds_of_orphans


def kills(campaign: Campaign, counts: Mapping[str, int], tally: Tally) -> None:
    """SIGKILL at a random moment, with a fast compiler."""
    _kills(campaign, counts["kills"], tally, campaign.fast, shared=False, longest=0.5)


def nvcc_kills(campaign: Campaign, counts: Mapping[str, int], tally: Tally) -> None:
    """The same with the real compiler, which shares front ends."""
    _kills(campaign, counts["nvcc_kills"], tally, campaign.nvcc, shared=True, longest=6.0)


def _kills(campaign: Campaign, count: int, tally: Tally, nvcc: Path, shared: bool, longest: float) -> None:
    chance, place = campaign.chance(tally.part), campaign.place(tally.part)
    store, cache = place / "store", place / "cache"

    def build() -> int:
        return campaign.build(store, cache, nvcc, shared)

    for number in range(count):
        for kernel in chance.sample(campaign.kernels, 3):  # there is always something left to do
            for path in (*store.glob(f"kernels/*/{kernel.key}"), *cache.glob(f"cache/{kernel.cache_entry.name}")):
                shutil.rmtree(path)
        child = forked(build)
        time.sleep(chance.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL)
        code = ended(child)
        tally.counts["killed" if code == -signal.SIGKILL else "ended before"] += 1
        if code not in (0, -signal.SIGKILL):
            tally.fault(f"kill {number}: exit code {code}")
        seconds = seconds_of_orphans()
        tally.took("compilers after the kill, s", seconds)
        if seconds > 2:
            tally.fault(f"kill {number}: compilers go on for {seconds:.1f} s")
        for text in campaign.damages(store, cache):
            tally.fault(f"kill {number}: {text}")
    age(store / "tmp", store / "claims", cache / "tmp")
    for path in store.glob(".*"):
        os.utime(path, (1, 1))
    if code := ended(forked(build)):
        tally.fault(f"the last build ends with {code}")
    tally.counts["missing after the last build"] = campaign.missing(store, cache)
    if campaign.missing(store, cache):
        tally.fault("the last build is not complete")
    for text in leftovers(store, cache, place):
        tally.fault(f"left over: {text}")


def races(campaign: Campaign, counts: Mapping[str, int], tally: Tally) -> None:
    """Many builders at once on one empty store."""
    place = campaign.place(tally.part)
    store, cache = place / "store", place / "cache"
    campaign.log.unlink(missing_ok=True)
    children = [forked(lambda: campaign.build(store, cache, campaign.fast, jobs=1)) for _ in range(counts["races"])]
    codes = [ended(child) for child in children]
    tally.counts["builders"] = len(codes)
    for code in codes:
        if code:
            tally.fault(f"a builder ends with {code}")
    compiled = campaign.log.read_text().splitlines()
    tally.counts["compiled"] = len(compiled)
    if len(compiled) != len(campaign.kernels):
        tally.fault(f"{len(compiled)} compiles of {len(campaign.kernels)} kernels")
    if campaign.missing(store, cache):
        tally.fault("kernels are missing")


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "x").touch()


def _cut(path: Path, content: bytes) -> None:
    path.write_bytes(content[: len(content) // 2])


def _flip(path: Path, content: bytes) -> None:
    changed = bytearray(content or b"x")
    changed[len(changed) // 3] ^= 4
    path.write_bytes(changed)


DAMAGES: dict[str, Callable[[Path, bytes], object]] = {
    "removed": lambda path, content: None,
    "empty": lambda path, content: path.touch(),
    "cut": _cut,
    "flipped": _flip,
    "binary": lambda path, content: path.write_bytes(b"\xff\xfe\0" * 50),
    "deep": lambda path, content: path.write_bytes(b"[" * 100_000),
    "directory": lambda path, content: _directory(path),
    "fifo": lambda path, content: os.mkfifo(path),
    "dangling link": lambda path, content: path.symlink_to("nowhere"),
    "link to a device": lambda path, content: path.symlink_to("/dev/zero"),
}


def damages(campaign: Campaign, counts: Mapping[str, int], tally: Tally) -> None:
    """Every file and directory of a store and a JIT cache, damaged in every way; then a build."""
    place = campaign.place(tally.part)
    whole, kernel = place / "whole", campaign.kernels[0]
    if code := ended(forked(lambda: campaign.build(whole / "store", whole / "cache", campaign.fast))):
        tally.fault(f"the first build ends with {code}")
        return
    (whole / "store" / "claims" / kernel.key).write_text('{"host": "elsewhere", "pid": 1}')
    (whole / "store" / "broken" / kernel.key[:2]).mkdir(parents=True, exist_ok=True)
    (whole / "store" / "broken" / kernel.key[:2] / f"{kernel.key}.json").write_text("{}")
    entry = f"store/kernels/{kernel.key[:2]}/{kernel.key}"
    jit = f"cache/cache/{kernel.cache_entry.name}"
    fixed = [entry, f"store/kernels/{kernel.key[:2]}", f"{entry}/kernel.cubin", f"{entry}/kernel.json", jit]
    fixed += [f"store/claims/{kernel.key}", f"store/broken/{kernel.key[:2]}/{kernel.key}.json"]
    fixed += [str(path.relative_to(whole)) for path in sorted((whole / jit).iterdir())]
    fixed += [str(path.relative_to(whole)) for path in sorted((whole / "store").iterdir()) if path.is_file()]
    for where in dict.fromkeys(fixed):
        for name, damage in DAMAGES.items():
            _damage(campaign, place, where, name, damage, tally)


def _damage(
    campaign: Campaign, place: Path, where: str, name: str, damage: Callable[[Path, bytes], object], tally: Tally
) -> None:
    copy = place / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(place / "whole", copy)
    if "claims" not in where:  # of another host: it would be waited for
        shutil.rmtree(copy / "store" / "claims")
    path = copy / where
    content = path.read_bytes() if path.is_file() else b""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    damage(path, content)
    if "claims" in where or where == "store/format":
        os.utime(path, (1, 1), follow_symlinks=False) if os.path.lexists(path) else None
    if "claims" in where:  # there is something to claim
        kernel = campaign.kernels[0]
        shutil.rmtree(copy / f"store/kernels/{kernel.key[:2]}/{kernel.key}", ignore_errors=True)
    started = time.monotonic()
    code = ended(forked(lambda: campaign.build(copy / "store", copy / "cache", campaign.fast)))
    tally.took("build, s", time.monotonic() - started)
    left = campaign.missing(copy / "store", copy / "cache")
    tally.counts["healed" if code == 0 and not left else "refused" if code in (2, 4) else "wrong"] += 1
    if code not in (0, 2, 4) or (code == 0 and left):
        tally.fault(f"{where} {name}: exit code {code}, {left} kernels are not ready")
