"""All rules, one module per topic."""

from kregistry.conformance.rule import Rule, registered
from kregistry.conformance.rules import (  # noqa: F401 - each import registers its rules
    arguments,
    buffers,
    call_forms,
    calls,
    concurrent,
    coverage,
    cuda,
    declaration,
    distinct_inputs,
    filling,
    kept_tensors,
    large_numerics,
    large_values,
    launches,
    linear_calls,
    manifests,
    numerics,
    opt_outs,
    oracle,
    other_calls,
    placement,
    random_numerics,
    reach,
    references,
    repeated,
    returned_tensors,
    settings,
    shapes,
    steps,
    stub,
    stub_results,
    unusual_inputs,
)

#: Every rule, by id.
RULES: dict[str, Rule] = registered()
