"""Whole commands: SIGTERM at a random moment, and hostile paths."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from faults_parts.common import Campaign, Tally, command, leftovers, seconds_of_orphans


def terminations(campaign: Campaign, counts: Mapping[str, int], tally: Tally) -> None:
    """SIGTERM while a command plans (one in ten) or builds."""
    chance, place = campaign.chance(tally.part), campaign.place(tally.part)
    temporary, store, cache = place / "tmp", place / "store", place / "cache"
    temporary.mkdir()
    environment = campaign.environment(temporary)
    first = command("build", campaign.manifest, "--store", store, "--cache-dir", cache)
    subprocess.run(first, env=environment, check=True, capture_output=True)

    def remove_some() -> None:
        there = sorted(store.glob("kernels/*/*"))
        for path in chance.sample(there, min(3, len(there))):
            shutil.rmtree(path)

    commands = {False: first, True: [*first, "--replan"]}
    lasts = {}
    for plans, arguments in commands.items():  # the signal comes while the command runs, on any machine
        remove_some()
        started = time.monotonic()
        subprocess.run(arguments, env=environment, check=True, capture_output=True)
        lasts[plans] = time.monotonic() - started
    for number in range(counts["terminations"]):
        plans = number % 10 == 0
        remove_some()
        arguments = commands[plans]
        with subprocess.Popen(
            arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            time.sleep(chance.uniform(0.1, 0.95) * lasts[plans])
            process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            _, err = process.communicate()
        tally.took("end after SIGTERM, s", time.monotonic() - started)
        # -15: before its first line of Python has run
        tally.counts[f"exit {process.returncode}"] += 1
        if process.returncode not in (0, 143, -15) or "Traceback" in err:
            tally.fault(f"SIGTERM {number}: exit code {process.returncode}: {err[-300:]}")
        seconds = seconds_of_orphans()
        tally.took("children after the end, s", seconds)
        if seconds > 2:
            tally.fault(f"SIGTERM {number}: children go on for {seconds:.1f} s")
        for text in leftovers(store, cache, temporary):
            tally.fault(f"SIGTERM {number}: left over: {text}")


HOSTILE = (
    "a b",
    "a:b",
    'q"$(touch MARK)"',
    "`touch MARK`",
    "x;touch MARK;",
    "a\nb",
    "größe",
    "it's",
    "a\\b",
    "$HOME",
    "*",
)


def paths(campaign: Campaign, counts: Mapping[str, int], tally: Tally) -> None:
    """Store, JIT cache, HOME, TMPDIR, the directory of caches and the manifest at one hostile path."""
    place = campaign.place(tally.part)
    for number, name in enumerate(HOSTILE[: counts["paths"]]):
        root = place / str(number) / name
        for each in ("home", "tmp", "xdg", "work"):
            (root / each).mkdir(parents=True)
        manifest = root / "work" / "kernels.yaml"
        manifest.write_text(campaign.manifest.read_text())
        environment = {
            **campaign.environment(root / "tmp"),
            "HOME": str(root / "home"),
            "XDG_CACHE_HOME": str(root / "xdg"),
        }
        for what in ("build", "verify"):
            arguments = (what, manifest, "--store", root / "store", "--cache-dir", root / "cache")
            done = subprocess.run(
                command(*arguments), env=environment, cwd=root / "work", capture_output=True, text=True
            )
            tally.counts[f"{what}: exit {done.returncode}"] += 1
            if done.returncode or "Traceback" in done.stderr:
                tally.fault(f"{name!r}: {what}: exit code {done.returncode}: {done.stderr[-300:]}")
    for mark in (*place.rglob("MARK"), *Path.cwd().glob("MARK"), *Path("/tmp").glob("MARK")):
        tally.fault(f"a path was executed: {mark}")
    environment = {**os.environ, "CUDA_HOME": str(place / "cu da"), "PATH": os.environ["PATH"]}
    (place / "cu da").symlink_to(campaign.toolkit)
    refused = subprocess.run(
        command("plan", campaign.manifest, "--replan", "--store", place / "x"),
        env=environment,
        capture_output=True,
        text=True,
    )
    tally.counts["CUDA_HOME with a space: refused"] = int(refused.returncode == 2 and "CUDA_HOME" in refused.stderr)
    if refused.returncode != 2 or "CUDA_HOME" not in refused.stderr:
        tally.fault(f"CUDA_HOME with a space: exit code {refused.returncode}: {refused.stderr[-300:]}")
