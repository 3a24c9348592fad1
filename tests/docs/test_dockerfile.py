"""The kregistry commands of examples/Dockerfile run, in its order; no container engine is there, nor an image."""

from __future__ import annotations

import os
import re
import shutil
import string
import subprocess
import sys
from pathlib import Path

import pytest
from compilers import copying_toolkit

from kregistry.toolchain import Toolchain

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tests" / "data" / "rehearsal" / "configs" / "qwen3-32b-fp8" / "config.json"


@pytest.mark.slow
@pytest.mark.stub
def test_the_commands_of_the_dockerfile_run(
    toolchain: Toolchain, cubin: bytes, tmp_path: Path, stub_directory: Path
) -> None:
    place = tmp_path / "opt"
    place.mkdir()
    shutil.copy(CONFIG, place)
    text = (ROOT / "examples" / "Dockerfile").read_text().replace("\\\n", " ").replace("/opt/kregistry", str(place))
    values = {"TARGET": "h200", "TP": "8"}
    variables = dict(re.findall(r"(\w+)=(\S+)", "".join(re.findall(r"^ENV (.*)$", text, re.MULTILINE))))
    commands = re.findall(r"^RUN (kregistry .*)$", text, re.MULTILINE)
    assert len(commands) == 3 and variables.keys() == {"KREGISTRY_STORE", "SGLANG_DG_CACHE_DIR", "KREGISTRY_MANIFEST"}
    home = copying_toolkit(tmp_path / "cuda", toolchain, cubin)
    environment = {**os.environ, **variables, "CUDA_HOME": str(home)}
    for command in commands:
        words = string.Template(command).substitute(values, **variables).split()[1:]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "kregistry", *words], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert any((place / "jit" / "cache").iterdir()) and (place / "kernels.yaml").is_file()
