"""Writes kregistry/compile/shared/front_ends.json: families whose shared front end makes what nvcc makes alone.

python tools/shipped_checks.py compare STORE    compile two kernels of each family that ships, and compare one
python tools/shipped_checks.py add STORE ...    add what builds with these stores have compared and found identical
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from kregistry.compile.pipeline import Pipeline
from kregistry.compile.shared.kernel_family import KernelFamily, Member, member_of
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.compile.shipped_kernels import every_shipped_kernel
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.event_bus import EventBus
from kregistry.machine import available_cores
from kregistry.store import Store, signed_json
from kregistry.toolchain import find_toolchain

FILE = Path(__file__).parent.parent / "kregistry" / "compile" / "shared" / "front_ends.json"


def main() -> None:
    if sys.argv[1:2] == ["compare"] and len(sys.argv) == 3:
        compare(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["add"] and len(sys.argv) > 2:
        add(list(map(Path, sys.argv[2:])))
    else:
        sys.exit(__doc__)


def compare(directory: Path) -> None:
    """Build the two smallest kernels of each family: one of them is compared."""
    toolchain, sizes = find_toolchain(), KernelSizes(directory)
    families: dict[KernelFamily, list[Member]] = defaultdict(list)
    for kernel in every_shipped_kernel(toolchain):
        member = member_of(kernel)
        families[member.family].append(member)
    jit_cache = JitCache(Path(tempfile.gettempdir()) / "never-filled")
    nvcc = toolchain.cuda.nvcc
    with Pipeline(EventBus(), Store(directory), jit_cache, nvcc, available_cores()) as pipeline:
        for members in families.values():
            for member in sorted(members, key=sizes.relative)[:2]:
                pipeline.add(member.kernel)
        pipeline.finish()
    for each in pipeline.record.sharing().compared:
        print(each.kernel.name, each.difference or "identical")
    print(f"{len(families)} families")


def add(stores: list[Path]) -> None:
    known = json.loads(FILE.read_text())
    for store in stores:
        for path in sorted((store / "front_ends").glob("*.json")):
            record = signed_json.decode(path.read_bytes())
            if record["difference"] == "":
                known[record["key"]] = {"family": record["family"], "kernel": record["kernel"]}
            else:
                print(f"{record['family']}: {record['difference']}")
    FILE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    print(f"{FILE}: {len(known)} families")


if __name__ == "__main__":
    main()
