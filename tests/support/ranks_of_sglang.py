"""The launching process of a server with two ranks, on the stub GPU: MODEL [--kill RANK] [ARGUMENT-OF-THE-SERVER ...]

It starts the build as SGLang's launch does, and a process for each rank (whole_sglang.py). With ``--kill`` one rank is
killed as soon as a call waits for the build. It prints how each rank ended, and what it printed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

RANKS = 2


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def main(model: str, arguments: list[str]) -> None:
    logging.basicConfig(level=logging.INFO)
    killed = int(arguments.pop(0)) if arguments[:1] == ["--kill"] and arguments.pop(0) else None
    from kregistry.integrations.sglang.launching import begin_build

    start = begin_build((SimpleNamespace(model_path=model, tp_size=RANKS, chunked_prefill_size=8192),))
    assert start is not None
    script = str(Path(__file__).with_name("whole_sglang.py"))
    command = [sys.executable, "-W", "ignore", script, model]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), "--tp-size", str(RANKS), *arguments],
            env={**os.environ, "MASTER_PORT": str(free_port())},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(RANKS)
    ]
    if killed is not None:
        while not (start.directory / "calls").is_dir() and ranks[killed].poll() is None:
            time.sleep(0.05)  # until a call of some rank waits for the build
        ranks[killed].kill()
    outputs = [rank.communicate()[0] for rank in ranks]
    answer = {
        "codes": [rank.returncode for rank in ranks],
        "texts": [text[-20000:] for text in outputs],
        "answers": [
            json.loads(line.removeprefix("ANSWER "))
            for text in outputs
            for line in text.splitlines()
            if line.startswith("ANSWER ")
        ],
        "status": json.loads((start.directory / "status.json").read_text()),
    }
    print("RANKS " + json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
