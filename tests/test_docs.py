"""The Python blocks of the documentation run, block after block, in one process on the stub GPU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from on_stub import run

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.mark.parametrize("page", ["serving.md"])
def test_python_blocks_run(tmp_path: Path, page: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    done = run("\n".join(blocks) + "\nprint(entries)\n", tmp_path, prelude="")
    assert "'models': {'recorded': {'kernels': []}}" in done.stdout
