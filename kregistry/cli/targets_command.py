"""kregistry targets"""

from __future__ import annotations

import click
from attrs import asdict

from kregistry.cli.options import json_option, print_json
from kregistry.cli.output import echo
from kregistry.target import TARGETS


@click.command(name="targets")
@json_option
def command(as_json: bool) -> None:
    """Show the GPUs that can be planned for, and the sources of their numbers."""
    from kregistry.cli.tables import human_bytes, print_table

    if as_json:
        print_json({name: {**asdict(target), "arch": target.arch} for name, target in TARGETS.items()})
        return
    rows = [
        (
            t.name,
            t.arch,
            t.compute_capability,
            t.num_sms,
            human_bytes(t.l2_bytes),
            human_bytes(t.memory_bytes),
            t.source,
        )
        for t in TARGETS.values()
    ]
    print_table(("target", "arch", "capability", ">SMs", ">L2", ">memory", "~source"), rows)
    echo("detect: the device of this machine; FILE.yaml: a target of your own")
