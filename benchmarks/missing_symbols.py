"""Write a C source with functions that torch needs and that older CUDA libraries do not have.

    python benchmarks/missing_symbols.py TORCH_LIB LIBRARY... > missing.c

A newer torch refers to functions of NCCL, cuDNN ... that older libraries do not have. The loader then refuses torch,
although one GPU never calls them. Each function of the source prints its name and ends the process. Only names with the
prefix of a given library are written (libnccl.so.2: nccl...).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def symbols(library: Path, option: str) -> set[str]:
    output = subprocess.run(["nm", "-D", option, str(library)], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].partition("@")[0] for line in output.splitlines() if line.strip()}


def main() -> None:
    torch, *libraries = map(Path, sys.argv[1:])
    needed = {name for path in torch.glob("libtorch*.so") for name in symbols(path, "--undefined-only")}
    there = {name for library in libraries for name in symbols(library, "--defined-only")}
    prefixes = tuple(re.sub(r"^lib|\.so.*$", "", library.name) for library in libraries)
    print("#include <stdio.h>\n#include <stdlib.h>")
    for name in sorted(each for each in needed - there if each.startswith(prefixes)):
        print(f'void {name}(void) {{ fputs("{name} is not in this library\\n", stderr); abort(); }}')


if __name__ == "__main__":
    main()
