"""docs/write-a-kernel-type.md, followed word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from third_party import ThirdParty

from kregistry.scaffold import write_plugin

PAGE = Path(__file__).resolve().parents[2] / "docs" / "write-a-kernel-type.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_block_does_what_the_page_says(tmp_path: Path) -> None:
    newcomer = ThirdParty(tmp_path / "venv")
    newcomer.add_commands()
    here, output = tmp_path, ""
    for index, (language, text) in enumerate(BLOCKS):
        if language == "sh":
            done = newcomer.shell(text, here)
            output = done.stdout
            fails = BLOCKS[index + 1 : index + 2] and BLOCKS[index + 1][0] == "text"
            assert done.returncode == (1 if fails else 0), f"{text}\n{done.stdout}\n{done.stderr}"
            here = tmp_path / "kregistry-my-gemm"
        elif language == "text":
            assert all(line in output for line in text.splitlines()), output
    assert here.is_dir()


def shown() -> str:
    return next(text for language, text in BLOCKS if language == "python")


def test_the_module_is_shown_whole(tmp_path: Path) -> None:
    files = write_plugin("my-gemm", tmp_path)
    assert shown() in [path.read_text() for path in files]
    assert f"```python\n{shown()}```" in (PAGE.parents[1] / "README.md").read_text()


def test_a_simple_kernel_type_takes_about_twenty_lines() -> None:
    (docstring, *lines) = [line for line in shown().splitlines() if line.strip()]
    assert docstring.startswith('"""') and docstring.endswith('"""')
    assert len(lines) == 19
    assert f"A simple one takes {len(lines)} lines" in (PAGE.parents[1] / "README.md").read_text()
    assert f"{len(lines)} lines besides blank ones" in PAGE.read_text()
    assert [line for line in lines if line.lstrip().startswith("#") or len(line) > 120] == []
