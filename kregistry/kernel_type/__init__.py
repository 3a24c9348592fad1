"""The contract of a kernel type, as plain values and one abstract class.

Importing it does not import torch.
"""

from kregistry.kernel_type.author_contract import Call
from kregistry.kernel_type.buffers import Buffers, BufferSpec
from kregistry.kernel_type.contract import KernelType
from kregistry.kernel_type.dimension import REQUIRED, Choice, Dimension, Flag, RunDimension, Size
from kregistry.kernel_type.empty_input import EmptyInput
from kregistry.kernel_type.gemm import Gemm
from kregistry.kernel_type.proof import Proof
from kregistry.kernel_type.setting import Setting
from kregistry.kernel_type.shape import Policy, Shape, Value
from kregistry.kernel_type.signature import Arguments, Signature
from kregistry.kernel_type.versions import ArchSupport

__all__ = [
    "REQUIRED",
    "ArchSupport",
    "Arguments",
    "BufferSpec",
    "Buffers",
    "Call",
    "Choice",
    "Dimension",
    "EmptyInput",
    "Flag",
    "Gemm",
    "KernelType",
    "Policy",
    "Proof",
    "RunDimension",
    "Setting",
    "Shape",
    "Signature",
    "Size",
    "Value",
]
