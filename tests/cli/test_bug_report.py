"""kregistry doctor --bundle: what is in the file, and what is not."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry.cli.bug_report import safe_environment, write_bundle
from kregistry.errors import StorageError

Run = Callable[..., Result]


def test_it_holds_versions_environment_and_the_last_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = tmp_path / "store" / "starts" / "one"
    start.mkdir(parents=True)
    (start / "build.log").write_text("fetched https://me:pw@host/x\n" + "x" * 300_000 + "end\n")
    monkeypatch.setenv("KREGISTRY_STORE", "somewhere")
    monkeypatch.setenv("SGLANG_API_KEY", "hunter2")
    names = write_bundle(tmp_path / "report.tar.gz", [{"subject": "torch"}], tmp_path / "store")
    with tarfile.open(tmp_path / "report.tar.gz") as archive:
        assert archive.getnames() == [f"kregistry-report/{name}" for name in names]
        texts = {each.name: archive.extractfile(each).read().decode() for each in archive}  # type: ignore[union-attr]
    whole = "".join(texts.values())
    assert "hunter2" not in whole and "SGLANG_API_KEY=(not shown)" in whole and "KREGISTRY_STORE=somewhere" in whole
    assert texts["kregistry-report/starts/one/build.log"].endswith("end\n")
    assert len(texts["kregistry-report/starts/one/build.log"]) == 200_000
    assert "pluggy==" in texts["kregistry-report/packages.txt"] and "torch" in texts["kregistry-report/doctor.json"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("VLLM_API_KEY", "a", "(not shown)"),
        ("SGLANG_AUTH_HEADER", "a", "(not shown)"),
        ("SGLANG_PROXY", "http://user:word@proxy:1/", "http://(not shown)@proxy:1/"),
        ("DG_JIT_CACHE_DIR", "/a", "/a"),
        ("AWS_REGION", "x", None),
        ("HOME", "/root", None),
    ],
)
def test_no_secret_is_shown(name: str, value: str, shown: str | None) -> None:
    assert safe_environment({name: value}).get(name) == shown


def test_a_file_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_bundle(tmp_path / "no" / "report.tar.gz", [], tmp_path)
