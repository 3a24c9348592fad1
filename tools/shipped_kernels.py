"""Writes kregistry/compile/shipped/: the kernels of the gallery and of kernels.yaml, for the installed stack.

python tools/shipped_kernels.py [TARGET ...]    plan them in full for these targets (default: h100 and b200)
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

from gallery import ROOT, paths_of, plan_together

from kregistry import Registry
from kregistry.compile.shipped_kernels import file_name, shipped_content
from kregistry.toolchain import find_toolchain

DIRECTORY = ROOT / "kregistry" / "compile" / "shipped"


def main() -> None:
    toolchain, registry = find_toolchain(), Registry()
    plans = []
    for target in sys.argv[1:] or ["h100", "b200"]:
        paths = [*paths_of(target), *([ROOT / "kernels.yaml"] if target == "h100" else [])]
        plans += plan_together(paths, registry, target).values()
    content = shipped_content(plans, toolchain.cuda.compiler)
    write(content, DIRECTORY / file_name(toolchain.versions.deep_gemm))


def write(content: object, path: Path) -> None:
    """Write a file that is the same to the byte wherever it is made."""
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path}: {path.stat().st_size} bytes, {len(text)} unpacked")


if __name__ == "__main__":
    main()
