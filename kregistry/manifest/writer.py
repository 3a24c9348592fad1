"""Writes plain data as the text of a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def dump_manifest(content: Mapping[str, Any]) -> str:
    """The text of a manifest without comments, one entry per line.

    Args:
        content: version, target and models, as in the file. Of each model only its kernels are written.
    """
    lines = [f"version: {content['version']}", f"target: {flow(content['target'])}", "models:"]
    for model, body in content["models"].items():
        lines += [f"  {flow(model)}:", "    kernels:" if body["kernels"] else "    kernels: []"]
        lines += [f"      - {flow(entry)}" for entry in body["kernels"]]
    return "\n".join(lines) + "\n"


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    plain = dict(value) if isinstance(value, Mapping) else value
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1 << 20, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
