"""`example_gemm` passes every rule of kregistry's conformance kit."""

import pytest
from kregistry_example_gemm import ExampleGemm

from kregistry.conformance import KernelTypeConformance


@pytest.fixture
def kernel_type():
    return ExampleGemm()


class TestExampleGemm(KernelTypeConformance):
    pass
