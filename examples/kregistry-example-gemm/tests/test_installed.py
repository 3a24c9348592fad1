"""The installed plugin is found by its entry point."""

from kregistry_example_gemm import ExampleGemm

from kregistry import Registry


def test_the_registry_offers_it():
    assert isinstance(Registry()["example_gemm"], ExampleGemm)
