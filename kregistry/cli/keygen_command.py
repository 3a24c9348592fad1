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
    import yaml

    from kregistry.trust.keys import SigningKey
    from kregistry.trust.policy_format import VERSION

    key = SigningKey.create(output).public
    policy = {"version": VERSION, "keys": {name or output.stem: {"id": key.id, "key": key.text}}}
    echo(yaml.safe_dump(policy, sort_keys=False, width=1000), nl=False)
    say(
        f"{output} signs, and stays with the builder; the lines above are a policy for readers: kregistry docs security"
    )
