"""The rehearsed manifests of the gallery are those that the engines give."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import gallery
from tools.forked_rehearsals import ForkedRehearsals

NAMES = gallery.together(filter(gallery.rehearsed, gallery.settings()))


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("--config a.json --engine sglang --tp 4", "init | `--engine sglang --tp 4`"),
        (
            "rehearse sglang --target h100 -- --model-path CONFIGS/a --tp-size 4",
            "rehearse | `sglang --tp-size 4`",
        ),
        (
            "SGLANG_A=0 rehearse sglang --target b200 -- --model-path CONFIGS/a",
            "rehearse | `SGLANG_A=0 sglang --target b200`",
        ),
    ],
)
def test_the_table_says_what_wrote_a_manifest(setting: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "settings", lambda: {"a": setting})
    assert gallery.origin("a") == shown
    assert gallery.rehearsed("a") is shown.startswith("rehearse")


@pytest.mark.engines
@pytest.mark.usefixtures("engine_imported_once")
@pytest.mark.parametrize("name", NAMES)
def test_the_engine_still_writes_it(name: str, tmp_path: Path) -> None:
    """``python tools/gallery.py rehearse`` would change nothing."""
    written = gallery.rehearse(name, tmp_path)
    assert written.read_bytes() == (gallery.MANIFESTS / written.name).read_bytes()


@pytest.mark.engines
@pytest.mark.parametrize("name", ["qwen3-32b.sglang-tp1", "qwen3-32b.vllm-tp4"])
def test_a_fork_writes_what_a_process_of_its_own_writes(name: str, tmp_path: Path) -> None:
    """Byte by byte, in the second fork of a process."""
    forked = tmp_path / "forked"
    forked.mkdir()
    alone = gallery.rehearse(name, tmp_path).read_bytes()
    with ForkedRehearsals() as forks, forks.used():
        for _ in range(2):
            assert gallery.rehearse(name, forked).read_bytes() == alone
