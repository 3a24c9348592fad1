"""The first minutes of a newcomer: run by a test in a terminal or a pipe, with a store that has the kernels already.

python first_minutes.py: each command is printed as it is typed, and then run in this process.
"""

from __future__ import annotations

import shlex
import sys

COMMANDS = """
kregistry --version
kregistry plan
kregistry init --example
kregistry check
kregistry plna
kregistry plan
kregistry build
kregistry build
kregistry show
kregistry show hc m=3
kregistry show hd
kregistry verify
kregistry plan -o kernels.lock
kregistry plan --check kernels.lock
kregistry report
kregistry list tf32_hc_prenorm_gemm
kregistry targets
"""


def main() -> None:
    from pathlib import Path

    from kregistry.cli import main as run

    manifest = Path("kernels.yaml").read_text()
    Path("kernels.yaml").unlink()
    for line in COMMANDS.strip().splitlines():
        if line == "kregistry check":
            Path("kernels.yaml").write_text(manifest)
        print(f"$ {line}", flush=True)
        sys.argv = shlex.split(line)
        try:
            run()
        except SystemExit as exit:
            if exit.code:
                print(f"(exit code {exit.code})", flush=True)
        sys.stderr.flush()
        sys.stdout.flush()


if __name__ == "__main__":
    main()
