"""What commands write beside kernels: pages, locks, bundles, images, remotes, records. Full disks, damages, kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from faults_parts.builds import DAMAGES
from faults_parts.common import Campaign, Tally, age, forked_command
from faults_parts.disks import can_mount, tmpfs
from kregistry.errors import KregistryError
from kregistry.plan.plan_file import read_plan
from kregistry.remote.bundle import BundleTier
from kregistry.store import packed
from kregistry.store.store import DamagedEntry

_OLD = b"old" * 40


def _material(campaign: Campaign, place: Path) -> Path:
    """A complete store with its plan and log, a remote, a bundle and a lock file."""
    whole = place / "whole"
    for arguments in (
        ("build", campaign.manifest, "--cache-dir", whole / "cache"),
        ("plan", campaign.manifest, "--sources", "-o", whole / "kernels.lock"),
        ("push", f"{whole / 'remote'}?unsigned", campaign.manifest),
        ("bundle", campaign.manifest, "--tar", whole / "kernels.tar.gz"),
    ):
        code, text = forked_command(campaign, *arguments, "--store", whole / "store")
        assert code == 0, f"{arguments[0]}: exit code {code}: {text}"
    return whole


def _is_page(path: Path) -> bool:
    return path.read_bytes().endswith(b"</html>\n")


def _is_json(path: Path) -> bool:
    return bool(json.loads(path.read_bytes()))


def _is_lock(path: Path) -> bool:
    return read_plan(path).sources is not None


def _is_image(path: Path) -> bool:
    index = json.loads((path / "index.json").read_bytes())
    return all((path / "blobs" / each["digest"].replace(":", "/")).is_file() for each in index["manifests"])


def _is_bundle(path: Path) -> bool:
    return bool(BundleTier(path).name)


def outputs(campaign: Campaign, counts: Mapping[str, int], tally: Tally) -> None:
    """A tmpfs of many sizes at each file that a command writes where it is asked to, or keeps for itself."""
    place = campaign.place(tally.part)
    if not can_mount(place):
        tally.counts["skipped: no right to mount"] = 1
        return
    whole = _material(campaign, place)
    stored, lock = ("--store", whole / "store"), ("--lock", whole / "kernels.lock")
    cached = ("--cache-dir", whole / "cache")
    files: dict[str, tuple[str, Callable[[Path], tuple[str | Path, ...]], Callable[[Path], bool]]] = {
        "report": ("r.html", lambda path: ("report", campaign.manifest, "-o", path, *stored, *cached), _is_page),
        "trace": (
            "t.json",
            lambda path: ("report", campaign.manifest, "-o", place / "r.html", "--trace", path, *stored, *cached),
            _is_json,
        ),
        "lock": (
            "kernels.lock",
            lambda path: ("plan", campaign.manifest, "--force", "--sources", "-o", path, *stored),
            _is_lock,
        ),
        "bundle": ("k.tar.gz", lambda path: ("bundle", "--tar", path, *lock, *stored), _is_bundle),
        "image": ("image", lambda path: ("bundle", "--oci", path, *lock, *stored), _is_image),
        "manifest": (
            "k.yaml",
            lambda path: ("init", "--example", "--force", "-o", path),
            lambda path: path.stat().st_size > 500,
        ),
    }
    for number in range(counts["outputs"]):
        kib = 4 * (number + 1)
        for name, (file, arguments, complete) in files.items():
            with tmpfs(place / f"{name}{number}", kib):
                path = place / f"{name}{number}" / file
                if name != "image":
                    path.write_bytes(_OLD)
                code, text = forked_command(campaign, *arguments(path))
                tally.counts[f"{name}: exit {code}"] += 1
                left = sorted(each.name for each in path.parent.iterdir())
                whole_old = left == [] if name == "image" else left == [file] and path.read_bytes() == _OLD
                good = left == [file] and complete(path) if code == 0 else code == 4 and whole_old
                if not good or "Traceback" in text:
                    tally.fault(f"{name} in {kib} KiB: exit code {code}, {left}: {text[-300:]}")
        with tmpfs(place / f"remote{number}", kib):
            remote = place / f"remote{number}"
            code, text = forked_command(campaign, "push", f"{remote}?unsigned", *lock, *stored)
            tally.counts[f"push: exit {code}"] += 1
            _check_remote(tally, remote, f"push to {kib} KiB")
            if code not in (0, 4) or "Traceback" in text:
                tally.fault(f"push to {kib} KiB: exit code {code}: {text[-300:]}")
        with tmpfs(place / f"pulled{number}", kib):
            store = place / f"pulled{number}"
            code, text = forked_command(campaign, "pull", f"{whole / 'remote'}?unsigned", *lock, "--store", store)
            tally.counts[f"pull: exit {code}"] += 1
            for fault in campaign.damages(store, whole / "cache"):
                tally.fault(f"pull into {kib} KiB: {fault}")
            if code not in (0, 4) or "Traceback" in text or (code == 0 and campaign.missing(store, whole / "cache")):
                tally.fault(f"pull into {kib} KiB: exit code {code}: {text[-300:]}")
        if number < counts["plan_disks"]:
            with tmpfs(place / f"xdg{number}", 4 << number):  # the stub library, digests of headers
                home = {"XDG_CACHE_HOME": str(place / f"xdg{number}")}
                code, text = forked_command(campaign, "plan", campaign.manifest, *stored, environment=home)
                tally.counts[f"caches: exit {code}"] += 1
                if code not in (0, 4) or "Traceback" in text:
                    tally.fault(f"caches of {4 << number} KiB: exit code {code}: {text[-300:]}")


def results(campaign: Campaign, counts: Mapping[str, int], tally: Tally) -> None:
    """Every other file of ours, damaged in every way, and the command that reads it."""
    place = campaign.place(tally.part)
    whole = _material(campaign, place)
    (plan,), (build,) = (sorted((whole / "store" / kind).glob("*.json")) for kind in ("plans", "builds"))
    kernel = campaign.kernels[0]
    remote = whole / f"remote/v1/kernels/{kernel.key[:2]}/{kernel.key}"
    xdg = Path(os.environ["XDG_CACHE_HOME"]) / "kregistry"
    copy = place / "copy"
    stored, lock = ("--store", copy / "store"), ("--lock", copy / "kernels.lock")
    builds = ("build", campaign.manifest, *stored, "--cache-dir", copy / "cache")
    cases: list[tuple[Path, tuple[str | Path, ...], tuple[int, ...]]] = [
        (plan, builds, (0,)),
        (build, ("report", campaign.manifest, "-o", copy / "r.html", *stored, "--cache-dir", copy / "cache"), (0,)),
        (whole / "kernels.lock", ("pull", f"{copy / 'remote'}?unsigned", *lock, *stored), (0, 2, 4)),
        (whole / "kernels.lock", ("show", copy / "kernels.lock", *stored), (0, 2, 4)),
        (remote, ("pull", f"{copy / 'remote'}?unsigned", *lock, "--store", copy / "new"), (0, 1)),
        (remote, (*builds, "--remote", f"{copy / 'remote'}?unsigned"), (0,)),
        (
            whole / "kernels.tar.gz",
            ("pull", f"{copy / 'kernels.tar.gz'}?unsigned", *lock, "--store", copy / "new"),
            (0, 2, 4),
        ),
    ]
    cases += [(path, builds, (0,)) for path in sorted((xdg / "headers").glob("*.json"))[:2]]
    cases += [(path, (*builds, "--replan"), (0,)) for path in sorted((xdg / "stub").glob("*/*.so*"))[:1]]
    for path, arguments, allowed in cases:
        for name, damage in DAMAGES.items():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(whole, copy)
            shutil.rmtree(copy / "store" / "claims", ignore_errors=True)
            inside = path.is_relative_to(whole)
            harmed = copy / path.relative_to(whole) if inside else path
            content = harmed.read_bytes() if harmed.is_file() else b""
            shutil.rmtree(harmed) if harmed.is_dir() and not harmed.is_symlink() else harmed.unlink(missing_ok=True)
            damage(harmed, content)
            started = time.monotonic()
            code, text = forked_command(campaign, *arguments)
            tally.took(f"{arguments[0]}, s", time.monotonic() - started)
            tally.counts[f"{arguments[0]}: exit {code}"] += 1
            if code not in allowed or "Traceback" in text:
                tally.fault(f"{path.name} {name}: {arguments[0]}: exit code {code}: {text[-300:]}")
            for fault in campaign.damages(copy / "new", copy / "cache"):
                tally.fault(f"{path.name} {name}: {fault}")


def transfers(campaign: Campaign, counts: Mapping[str, int], tally: Tally) -> None:
    """SIGKILL while kernels are copied to a remote and from it, or written into files."""
    chance, place = campaign.chance(tally.part), campaign.place(tally.part)
    whole = _material(campaign, place)
    remote, store, made = place / "remote", place / "store", place / "made"
    made.mkdir()
    stored, lock = ("--store", whole / "store"), ("--lock", whole / "kernels.lock")
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("push", f"{remote}?unsigned", *lock, *stored),
        ("pull", f"{whole / 'remote'}?unsigned", *lock, "--store", store),
        ("bundle", "--tar", made / "k.tar.gz", *lock, *stored),
        ("report", campaign.manifest, "-o", made / "r.html", *stored, "--cache-dir", whole / "cache"),
    )
    for number in range(counts["transfers"]):
        arguments = commands[number % len(commands)]
        for directory in (remote, store / "kernels"):
            shutil.rmtree(directory, ignore_errors=True) if chance.random() < 0.5 else None
        code, text = forked_command(campaign, *arguments, kill_after=chance.uniform(0.0, 0.5))
        tally.counts["killed" if code == -signal.SIGKILL else f"exit {code}"] += 1
        if code not in (0, -signal.SIGKILL) or "Traceback" in text:
            tally.fault(f"kill {number}: {arguments[0]}: exit code {code}: {text[-300:]}")
        _check_remote(tally, remote, f"kill {number}")
        for fault in campaign.damages(store, whole / "cache"):
            tally.fault(f"kill {number}: {fault}")
    age(store / "tmp", store / "claims", remote, made)
    for arguments in commands:
        code, text = forked_command(campaign, *arguments)
        if code:
            tally.fault(f"the last {arguments[0]} ends with {code}: {text[-300:]}")
    names = [path.name for path in remote.rglob("*") if path.is_file() and len(path.name) != 64]
    names += [path.name for path in made.iterdir() if path.name not in ("k.tar.gz", "r.html")]
    names += [path.name for kind in ("tmp", "claims") for path in (store / kind).glob("*")]
    for name in names:
        tally.fault(f"left over: {name}")
    if campaign.missing(store, whole / "cache") or not _is_bundle(made / "k.tar.gz") or not _is_page(made / "r.html"):
        tally.fault("the last runs are not complete")


def _check_remote(tally: Tally, remote: Path, what: str) -> None:
    for path in remote.glob("v1/kernels/*/*"):
        if len(path.name) == 64:
            try:
                packed.unpack(path.name, path.read_bytes())
            except (DamagedEntry, KregistryError, OSError) as error:
                tally.fault(f"{what}: {path.name[:8]} in the remote: {error}")
