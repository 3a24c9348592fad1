"""kregistry is in no package index: every line that installs it works in a clone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.blocks import ROOT

#: Options, and the first thing that is installed.
_COMMAND = re.compile(r"pip install ((?:-\S+ )*[^\s`]+)")
_EXTRA = re.compile(r"\.\[([\w,-]+)\]")


def pages() -> Iterator[Path]:
    """What a user reads: pages, examples, and the messages in the code."""
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))
    yield from sorted((ROOT / "docs").rglob("*.md"))
    for folder in ("examples", "kregistry"):
        yield from (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in ("", ".md", ".py", ".in"))


def install_commands() -> list[tuple[str, str]]:
    """Each file of the clone that has such a command, and the arguments."""
    files = [path for path in pages() if path.is_file() and "egg-info" not in str(path)]
    return [(str(path.relative_to(ROOT)), found) for path in files for found in _COMMAND.findall(path.read_text())]


def test_kregistry_is_never_installed_by_name() -> None:
    commands = install_commands()
    assert {"README.md", "examples/Dockerfile", "kregistry/deep_gemm/compiler.py"} <= {file for file, _ in commands}
    assert [each for each in commands if re.search(r"(^|[ '\"])kregistry\b(?!-)", each[1])] == []


def test_every_extra_of_a_command_exists() -> None:
    table = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = set(re.findall(r"^([\w-]+) = \[", table, re.MULTILINE))
    assert "deepgemm" in extras
    named = [(file, found.split(",")) for file, text in install_commands() for found in _EXTRA.findall(text)]
    assert [(file, names) for file, names in named if not extras.issuperset(names)] == []


def test_the_image_installs_the_copied_clone_and_no_other_torch() -> None:
    text = (ROOT / "examples" / "Dockerfile").read_text()
    copied = re.findall(r"^COPY \. (\S+)$", text, re.MULTILINE)
    assert re.findall(r"pip install (.*)$", text, re.MULTILINE) == copied != []
