"""Build: compile what the store lacks, in parallel, and fill the JIT cache."""

from kregistry.build.broken import BrokenKernel, BrokenRange
from kregistry.build.make import build_kernels
from kregistry.build.report import BuildReport, CompiledKernel
from kregistry.cache.broken import FailedKernel

__all__ = ["BrokenKernel", "BrokenRange", "BuildReport", "CompiledKernel", "FailedKernel", "build_kernels"]
