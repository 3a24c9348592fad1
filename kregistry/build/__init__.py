"""Build: compile what the store lacks, in parallel, and fill the JIT cache."""

from kregistry.build.make import build_kernels
from kregistry.build.report import BuildReport, CompiledKernel, FailedKernel

__all__ = ["BuildReport", "CompiledKernel", "FailedKernel", "build_kernels"]
