"""kregistry docs"""

from __future__ import annotations

from pathlib import Path

import click

from kregistry.cli.output import echo


@click.command(name="docs")
@click.argument("page", required=False)
def command(page: str | None) -> None:
    """Print PAGE of this version's documentation as Markdown (default: list the pages)."""
    from kregistry.errors import UnknownNameError

    pages = {path.stem: path.read_text(encoding="utf-8") for path in sorted(directory().glob("*.md"))}
    if page is None:
        for name, text in pages.items():
            title = text.partition("\n")[0].lstrip("# ")
            echo(f"{name:<24} {title}")
    elif page in pages:
        echo(pages[page], nl=False)
    else:
        raise UnknownNameError("page", page, tuple(pages))


def directory() -> Path:
    """The directory of the pages; in a clone it is a link to docs/."""
    return Path(__file__).parents[1] / "docs"
