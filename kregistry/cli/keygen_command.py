"""kregistry keygen"""

from __future__ import annotations

from pathlib import Path

import click

from kregistry.cli.output import echo, say


@click.command(name="keygen")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File of the private key; a new one."
)
@click.option("--name", default="", help="The key's name in the policy (default: the name of the file).")
def command(output: Path, name: str) -> None:
    """Make an Ed25519 key that signs kernels, and print its entry for a policy.

    The private key goes to a new file that only you can read; with KREGISTRY_PASSPHRASE set, it is encrypted.
    """
    from kregistry.trust.keys import SigningKey

    key = SigningKey.create(output).public
    echo(f"version: 1\nkeys:\n  {name or output.stem}:\n    id: {key.id}\n    key: {key.text}")
    say(
        f"{output} signs, and stays with the builder; the lines above are a policy for readers: kregistry docs security"
    )
