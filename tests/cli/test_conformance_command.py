"""kregistry conformance and kregistry new-plugin, as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).resolve().parents[1] / "support"
PLUGIN = """
from kregistry import hookimpl
from good_kernel_types import PlainGemm
from wrong_kernel_types import RequirementTooSmall

class Wrong(RequirementTooSmall):
    name = "wrong"

@hookimpl
def kregistry_kernel_types():
    return [PlainGemm(), Wrong()]
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory with an installed plugin of one right and one wrong kernel type."""
    (tmp_path / "sample_plugin.py").write_text(PLUGIN)
    metadata = tmp_path / "sample_plugin-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sample-plugin\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text("[kregistry]\nsample = sample_plugin\n")
    return tmp_path


def kregistry(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{directory}:{SUPPORT}"}
    command = [sys.executable, "-c", "from kregistry.cli import main; main()", *arguments]
    return subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True)


@pytest.mark.stub
def test_a_right_kernel_type(installed: Path) -> None:
    done = kregistry(installed, "conformance", "plain_gemm", "--report", "report.jsonl")
    assert done.returncode == 0, done.stderr
    assert "sample-plugin 1.2" in done.stdout
    assert "skipped KR201" in done.stdout
    records = [json.loads(line) for line in (installed / "report.jsonl").read_text().splitlines()]
    assert {(each["kernel_type"], each["distribution"], each["version"]) for each in records} == {
        ("plain_gemm", "sample-plugin", "1.2")
    }


@pytest.mark.stub
def test_a_wrong_kernel_type(installed: Path) -> None:
    done = kregistry(installed, "conformance", "wrong", "--json")
    assert done.returncode == 1
    assert {each["rule"] for each in json.loads(done.stdout) if each["outcome"] == "failed"} == {"KR103"}
    assert "wrong: memory_requirement(shape, max_m=1): got" in done.stderr
    assert "kregistry docs conformance" in done.stderr


def test_an_unknown_name(installed: Path) -> None:
    done = kregistry(installed, "conformance", "plain_gem")
    assert done.returncode == 2
    assert "did you mean 'plain_gemm'?" in done.stderr


def test_new_plugin(tmp_path: Path) -> None:
    done = kregistry(tmp_path, "new-plugin", "my-gemm")
    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.splitlines()]
    assert all((tmp_path / file).is_file() for file in files)
    assert Path("kregistry-my-gemm/kregistry_my_gemm.py") in files
    assert kregistry(tmp_path, "new-plugin", "my-gemm").returncode == 2
