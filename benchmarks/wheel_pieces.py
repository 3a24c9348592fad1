"""Transfer a large wheel to a machine without a package index, in pieces with checksums.

    python benchmarks/wheel_pieces.py split WHEEL DIR [--megabytes 55]    here: write pieces and a list of checksums
    python benchmarks/wheel_pieces.py take DIR STORE                      there, after each transfer: keep the pieces
    python benchmarks/wheel_pieces.py join STORE OUT                      there, at the end: write and check the wheel

DIR holds NAME.whl.part00, ... and NAME.whl.json. `take` copies and checks the pieces of one transfer, and reports
which are still missing. A damaged piece is reported and not kept. `join` checks the whole wheel.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("split")
    one.add_argument("wheel", type=Path)
    one.add_argument("directory", type=Path)
    one.add_argument("--megabytes", type=int, default=55)
    two = commands.add_parser("take")
    two.add_argument("directory", type=Path)
    two.add_argument("store", type=Path)
    three = commands.add_parser("join")
    three.add_argument("store", type=Path)
    three.add_argument("out", type=Path)
    options = parser.parse_args()
    if options.command == "split":
        split(options.wheel, options.directory, options.megabytes << 20)
    elif options.command == "take":
        take(options.directory, options.store)
    else:
        join(options.store, options.out)


def split(wheel: Path, directory: Path, size: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    whole = hashlib.sha256()
    pieces: dict[str, str] = {}
    with wheel.open("rb") as file:
        while content := file.read(size):
            whole.update(content)
            name = f"{wheel.name}.part{len(pieces):02}"
            (directory / name).write_bytes(content)
            pieces[name] = hashlib.sha256(content).hexdigest()
    index = {"wheel": wheel.name, "sha256": whole.hexdigest(), "pieces": pieces}
    (directory / f"{wheel.name}.json").write_text(json.dumps(index, indent=1) + "\n")
    print(f"{wheel.name}: {len(pieces)} pieces")


def take(directory: Path, store: Path) -> None:
    store.mkdir(parents=True, exist_ok=True)
    for path in directory.glob("*.whl.json"):
        shutil.copy(path, store)
    for index in _indexes(store):
        for name, digest in index["pieces"].items():
            if (directory / name).exists() and _keep(directory / name, store / name, digest) != digest:
                print(f"{name}: the checksum differs, transfer it again")
        missing = [name for name in index["pieces"] if not (store / name).exists()]
        print(f"{index['wheel']}: {len(index['pieces']) - len(missing)} of {len(index['pieces'])} pieces")


def join(store: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for index in _indexes(store):
        wheel, digest = out / index["wheel"], hashlib.sha256()
        with wheel.open("wb") as file:
            for name in index["pieces"]:
                if not (store / name).exists():
                    sys.exit(f"{name} is missing")
                content = (store / name).read_bytes()
                digest.update(content)
                file.write(content)
        if digest.hexdigest() != index["sha256"]:
            wheel.unlink()
            sys.exit(f"{index['wheel']}: the checksum of the whole differs")
        print(f"{wheel}: {wheel.stat().st_size} bytes, checked")


def _keep(source: Path, target: Path, expected: str) -> str:
    """The checksum of a piece. The piece is copied only if the checksum is the expected one."""
    content = source.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found == expected:
        target.write_bytes(content)
    return found


def _indexes(store: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(store.glob("*.whl.json")):
        yield json.loads(path.read_text())


if __name__ == "__main__":
    main()
