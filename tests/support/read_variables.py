"""Which environment variables the compiled part of DeepGEMM reads: its calls of getenv(), on the stub GPU.

``python tests/support/read_variables.py`` adds those of the installed version to tests/data/variables_read.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
#: Version of DeepGEMM -> what it reads.
KEPT = HERE.parent / "data" / "variables_read.json"
TARGETS = ("h100", "b200", "rtx-pro-6000")

#: One call of each kernel type: where DeepGEMM reads a variable, it does so at the first call.
_CALLS = """
from kregistry import Registry
from kregistry.deep_gemm.settings import applied
from kregistry.target import detect_target
from tests.plugins.catalogue_cases import CASES
import torch, deep_gemm

registry, target, calls = Registry(), detect_target(), 0
for name, shape, (start, *_), *_ in CASES:
    try:
        shape = registry[name].resolve(shape, target)
        with applied(registry[name], shape):
            registry[name].execute(registry[name].allocate_buffers(shape, start), start)
        calls += 1
    except Exception:
        pass  # what this GPU or this DeepGEMM does not have
print("CALLS", calls)
"""


def trace(target: str, directory: Path) -> set[str]:
    """The names that DeepGEMM reads while it runs as one target."""
    from on_stub import environment

    home, library, names = directory / target, directory / "getenv_trace.so", directory / f"{target}.names"
    home.mkdir()
    source = HERE / "getenv_trace.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    variables = environment(home, target, GETENV_TRACE=str(names))
    variables["LD_PRELOAD"] = f"{library}:{variables['LD_PRELOAD']}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _CALLS],
        env=variables,
        capture_output=True,
        text=True,
        cwd=HERE.parents[1],
    )
    assert done.returncode == 0 and not done.stdout.endswith("CALLS 0\n"), done.stdout + done.stderr
    return set(names.read_text().split())


def variables_read(directory: Path) -> list[str]:
    """The names that the installed DeepGEMM reads as any of the targets."""
    return sorted(set().union(*(trace(target, directory) for target in TARGETS)))


def main() -> None:
    """Add the installed version to the file."""
    from kregistry.deep_gemm.version import deep_gemm_version

    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    with TemporaryDirectory() as directory:
        kept[str(deep_gemm_version())] = variables_read(Path(directory))
    KEPT.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + os.linesep)


if __name__ == "__main__":
    main()
