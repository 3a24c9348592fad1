"""The rehearsed manifests of the gallery are those that the engines give."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import gallery

NAMES = [name for name in gallery.settings() if gallery.rehearsed(name)]


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
@pytest.mark.parametrize("name", NAMES)
def test_the_engine_still_writes_it(name: str, tmp_path: Path) -> None:
    """``python tools/gallery.py rehearse`` would change nothing."""
    written = gallery.rehearse(name, tmp_path)
    assert written.read_bytes() == (gallery.MANIFESTS / written.name).read_bytes()
