"""Proof: facts about a kernel type that only the conformance kit uses, and nothing at run time."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from kregistry.kernel_type.shape import Value


@frozen
class Proof:
    """How the conformance kit tests a kernel type.

    Attributes:
        examples: shapes to test. They are small, so that the reference is fast on a CPU, and differ from each other
            (an odd size, another form of scale factors, a policy).
        tolerance: the largest allowed difference from the reference: a bound of ``1 - 2 <x, y> / (<x, x> + <y, y>)`` in
            float64, DeepGEMM's own measure (``deep_gemm.testing.calc_diff``): 0 for equal tensors, 1 for zeros
            against anything.
        tolerance_reason: why the tolerance accepts 5 % of noise (a launch that rounds between two steps). With a reason
            it may accept that, but not 15 %.
        start: the smallest run-time value above 0 to launch; 0: the first of the run-time dimension.
        stop: the largest run-time value to launch; 0: chosen by the step of the run-time dimension.
        deterministic: whether the same inputs give the same bits on every launch.
        kernel_depends_on_m: whether DeepGEMM chooses the kernel by the run-time value, apart from dimensions that a
            policy varies.
        input_exponent: results also agree, within the tolerance, with one input multiplied by two to the power of this,
            or of minus this. Make it smaller where numbers saturate (a sigmoid, a sum of an input and a constant).
        input_reason: why ``input_exponent`` is smaller than 16.
        devices: the devices on which the launch function works. With ``"cpu"`` numerics are tested without a GPU.
    """

    examples: tuple[Mapping[str, Value], ...] = ()
    tolerance: float = 1e-3
    tolerance_reason: str = ""
    start: int = 0
    stop: int = 0
    deterministic: bool = True
    kernel_depends_on_m: bool = True
    input_exponent: int = 16
    input_reason: str = ""
    devices: tuple[str, ...] = ("cuda",)
