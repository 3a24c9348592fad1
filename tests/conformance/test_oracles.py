"""The references of the kernel types of this repository agree with oracles that do not know them."""

from __future__ import annotations

from contextlib import suppress

import pytest

from kregistry import KernelType, Registry, Shape, ShapeError, deep_gemm_version
from kregistry.conformance.cases import value_of
from kregistry.conformance.poison import NAN_POISON
from kregistry.conformance.rules.numerics import compare_results
from kregistry.conformance.trial import filled_buffers, results_of
from kregistry.target import get_target

pytest.importorskip("torch")
from .oracles.catalogue import ORACLES, ROUNDING, WITHOUT, hidden_inputs

REGISTRY = Registry()
VERSION = deep_gemm_version() or "0"
#: Their buffers and their rounding are those of the versions that they claim.
NVFP4 = [] if VERSION.startswith("0.1.") else ["nvfp4_mega_moe", "mega_moe_pre_dispatch_nvfp4"]
NAMES = [name for name in REGISTRY.names() if name not in WITHOUT and ("nvfp4" not in name or name in NVFP4)]


def shapes(kernel_type: KernelType) -> list[Shape]:
    """The examples for the GPUs that are claimed for the installed DeepGEMM; for all that are declared if none is."""
    targets = [get_target(name) for name in ("h100", "b200")]
    claimed = [each for each in targets if kernel_type.unsupported_reason(each, VERSION) is None]
    archs = {each.arch for each in kernel_type.archs if each.deep_gemm != "none"}
    found = []
    for target in claimed or [each for each in targets if each.arch in archs]:
        for example in kernel_type.proof.examples:
            with suppress(ShapeError):
                found.append(kernel_type.resolve(example, target))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_reference_agrees_with_the_oracle(name: str) -> None:
    kernel_type = REGISTRY[name]
    function = next(each for each in kernel_type.function_names if each in ORACLES)
    limit = kernel_type.proof.tolerance if name in ROUNDING else min(kernel_type.proof.tolerance, 1e-5)
    tried = 0
    for shape in shapes(kernel_type):
        for case in ("one", "tail"):
            m = value_of(kernel_type, case)
            buffers = filled_buffers(kernel_type, shape, m, m, 5, NAN_POISON, "cpu").buffers
            wanted = {key: each.clone() for key, each in kernel_type.reference(buffers, m).items()}
            call = kernel_type.arguments(buffers, m)
            further = hidden_inputs(name, kernel_type, buffers, m)
            results = results_of(kernel_type, buffers, m, ORACLES[function](*call.args, **call.kwargs, **further))
            compare_results(results, wanted, limit, f"{shape}, m={m}, {shape.target.name}")
            tried += 1
    assert tried >= 2


def test_each_kernel_type_has_an_oracle_or_a_reason() -> None:
    """Numerics of a new kernel type are judged by more than its own reference."""
    missing = [name for name in NAMES if not set(REGISTRY[name].function_names) & set(ORACLES)]
    assert not missing, f"write an oracle in tests/conformance/oracles, or say in WITHOUT why not: {missing}"
    assert set(WITHOUT) <= set(REGISTRY.names())
    assert all(reason.strip() for reason in WITHOUT.values())
