"""All rules, one module per topic."""

from kregistry.conformance.rule import Rule, registered
from kregistry.conformance.rules import (  # noqa: F401 - each import registers its rules
    arguments,
    buffers,
    calls,
    cuda,
    declaration,
    launches,
    manifests,
    numerics,
    references,
    settings,
    shapes,
    stub,
)

#: Every rule, by id.
RULES: dict[str, Rule] = registered()
