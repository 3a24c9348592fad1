"""Zero the GPU code of a shared library but for one architecture, PTX too, so that it compresses to little.

    python device_code.py LIBRARY [LIBRARY ...] --keep 90

The section .nv_fatbin is a row of fat binaries: a header of 16 bytes or more (magic, version, size of the header, size
of what follows), and in it entries, each with a header (kind, version, own size, size of the code; the architecture at
offset 28) and its code. The headers stay, so that the CUDA runtime finds the entries as before, and loads one that was
kept. Source of the layout: what `cuobjdump --list-elf` prints of the same files.
"""

from __future__ import annotations

import argparse
import mmap
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MAGIC = 0xBA55ED50
_HEADER = struct.Struct("<IHHQ")
_ENTRY = struct.Struct("<HHIQ")
_ARCHITECTURE = 28
_PTX = 1


class Code(NamedTuple):
    """The GPU code of one entry: its place in the file, in bytes, and its architecture (90: compute capability 9.0)."""

    offset: int
    size: int
    architecture: int
    is_ptx: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("libraries", type=Path, nargs="+")
    parser.add_argument("--keep", type=int, required=True, help="the architecture whose code stays, e.g. 90")
    options = parser.parse_args()
    for library in options.libraries:
        zeroed = zero_others(library, options.keep)
        print(f"{library}: {zeroed >> 20} of {library.stat().st_size >> 20} MiB are zeros now")


def zero_others(library: Path, keep: int) -> int:
    """Returns the number of bytes that were zeroed."""
    zeroed = 0
    for start, size in sections(library):
        with library.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
            codes = list(entries(data, start, size))
            kept = [each for each in codes if not each.is_ptx and each.architecture == keep]
            for code in codes if kept else ():  # without any for that architecture, a driver compiles PTX or refuses
                if code not in kept:
                    data[code.offset : code.offset + code.size] = bytes(code.size)
                    zeroed += code.size
    return zeroed


def sections(library: Path) -> Iterator[tuple[int, int]]:
    """Offset and size of each section of GPU code, in bytes."""
    listed = subprocess.run(["readelf", "-SW", str(library)], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        words = line.rpartition("]")[2].split()
        if words and words[0] in (".nv_fatbin", "__nv_relfatbin"):
            yield int(words[3], 16), int(words[4], 16)


def entries(data: mmap.mmap | bytes, start: int, size: int) -> Iterator[Code]:
    """The GPU code in a section that begins at ``start`` and has ``size`` bytes."""
    position, end = start, start + size
    while position + _HEADER.size <= end:
        magic, _, header, following = _HEADER.unpack_from(data, position)
        if magic != _MAGIC:  # padding
            position += 8
            continue
        position += header
        last = position + following
        while position + _ARCHITECTURE + 4 <= last:
            kind, _, header, code = _ENTRY.unpack_from(data, position)
            if header == 0:
                break
            (architecture,) = struct.unpack_from("<I", data, position + _ARCHITECTURE)
            yield Code(position + header, code, architecture, kind == _PTX)
            position += header + code
        position = last


if __name__ == "__main__":
    main()
