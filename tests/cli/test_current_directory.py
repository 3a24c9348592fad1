"""Commands in a directory with files named as modules: none of them runs, in the console script or in its children."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("json", "torch", "attrs", "attr", "typing", "click", "subprocess", "numpy", "deep_gemm")

#: Plans with a kernel type of the current directory, which ``python -c`` can import and no child can.
USER = """
import kregistry, mine

class Plugin:
    @kregistry.hookimpl
    def kregistry_kernel_types(self):
        return [mine.Mine()]

registry = kregistry.Registry(load_entry_points=False)
registry.register(Plugin())
plan = kregistry.make_plan(kregistry.load_manifest("kernels.yaml", registry), registry)
print("".join(plan.problems()))
"""


@pytest.fixture
def hostile(tiny_file: Path) -> Path:
    """The directory of a manifest, where every file leaves a mark if it runs."""
    directory = tiny_file.parent
    for package in ("kregistry", "plugins"):
        (directory / package).mkdir()
    for name in NAMES:
        for place in (directory, directory / "kregistry"):
            (place / f"{name}.py").write_text(f"open({str(directory / 'marker')!r}, 'a').write('{name} ')\n")
    return directory


def run(directory: Path, command: list[str], pythonpath: str | None) -> str:
    """Its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if pythonpath is not None:
        environment["PYTHONPATH"] = pythonpath
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("pythonpath", [None, "", ".", "/nowhere:"])
@pytest.mark.stub
def test_nothing_of_the_current_directory_runs(hostile: Path, pythonpath: str | None) -> None:
    script = str(Path(sys.executable).with_name("kregistry"))
    assert "1 kernel for h100" in run(hostile, [script, "plan"], pythonpath)
    assert "ok   stub GPU" in run(hostile, [script, "doctor"], pythonpath)
    assert not (hostile / "marker").exists()


@pytest.mark.stub
def test_a_kernel_type_of_the_current_directory_is_refused_by_name(tmp_path: Path) -> None:
    support = Path(__file__).parents[1] / "support"
    (tmp_path / "mine.py").write_text(
        "from sample_kernel_types import Prenorm\n\nclass Mine(Prenorm):\n    name = 'mine'\n"
    )
    (tmp_path / "kernels.yaml").write_text(
        "version: 1\ntarget: h100\nmodels: {a: {kernels: [{type: mine, shape: {n: 24}, m: {stop: 2}}]}}\n"
    )
    assert run(tmp_path, [sys.executable, "-W", "ignore", "-c", USER], str(support)) == (
        "a: mine n=24: a new process cannot import its class mine.Mine (ModuleNotFoundError: No module named 'mine'): "
        "the module must be installed, or in a directory that PYTHONPATH names by its absolute path; the current "
        "directory is not searched\n"
    )
    assert run(tmp_path, [sys.executable, "-W", "ignore", "-c", USER], f"{support}:{tmp_path}") == "\n"
