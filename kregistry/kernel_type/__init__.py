"""The contract of a kernel type, as plain values and one abstract class.

Importing it does not import torch.
"""

from kregistry.kernel_type.buffers import Buffers, BufferSpec
from kregistry.kernel_type.contract import ArchSupport, Call, KernelType, Tolerance
from kregistry.kernel_type.dimension import REQUIRED, Dimension, Policy, RunDimension, Value
from kregistry.kernel_type.empty_input import EmptyInput
from kregistry.kernel_type.shape import Shape

__all__ = [
    "REQUIRED",
    "ArchSupport",
    "BufferSpec",
    "Buffers",
    "Call",
    "Dimension",
    "EmptyInput",
    "KernelType",
    "Policy",
    "RunDimension",
    "Shape",
    "Tolerance",
    "Value",
]
