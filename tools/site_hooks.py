"""Hooks of the site (mkdocs.yml): the page of all commands is generated, and links out of docs/ are checked.

mkdocs build
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_OUTSIDE = re.compile(r"\]\((?P<target>\.\./[^)#\s]+)(?P<anchor>#[^)]*)?\)")


def commands_page() -> str:
    """Every command with its help, as `kregistry COMMAND --help` prints it."""
    import click

    from kregistry.cli import COMMANDS, EXIT_CODES, cli

    parts = ["# Commands", "```text\n" + EXIT_CODES.replace("\b\n", "") + "\n```"]
    for name in COMMANDS:
        context = click.Context(cli, info_name="kregistry", terminal_width=100, max_content_width=100)
        command = cli.get_command(context, name)
        assert command is not None
        help = command.get_help(click.Context(command, info_name=name, parent=context, terminal_width=100))
        parts.append(f"## kregistry {name}\n\n```text\n{help}\n```")
    return "\n\n".join(parts) + "\n"


def on_files(files: Any, config: Any) -> Any:
    """Add the page of all commands."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "commands.md", content=commands_page()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A link to a file outside of docs/ has no page: check that the file exists, and show its name instead."""

    def shown(match: re.Match[str]) -> str:
        path = (ROOT / "docs" / page.file.src_uri).parent / match["target"]
        if not path.resolve().exists():
            raise FileNotFoundError(f"{page.file.src_uri}: {match['target']}")
        return f'](# "{path.resolve().relative_to(ROOT)}")'

    return _OUTSIDE.sub(shown, markdown)
