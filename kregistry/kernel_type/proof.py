"""Proof: what only the conformance kit asks of a kernel type; nothing at run time depends on it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from kregistry.kernel_type.shape import Value


@frozen
class Proof:
    """How a kernel type is proven.

    Attributes:
        examples: shapes to try: small, so that the reference is quick on a CPU, and each with something that the
            others lack (an odd size, another form of scale factors, a policy).
        tolerance: how far a result may be from the reference: a bound of ``1 - 2 <x, y> / (<x, x> + <y, y>)`` in
            float64, DeepGEMM's own measure (``deep_gemm.testing.calc_diff``): 0 for equal tensors, 1 for zeros
            against anything.
        start: smallest run-time value above 0 that is launched at; 0: the first of the run-time dimension.
        stop: largest run-time value that is tried; 0: chosen by the step of the run-time dimension.
        deterministic: whether the same inputs give the same bits on every launch.
        kernel_depends_on_m: whether DeepGEMM chooses the kernel by the run-time value, apart from dimensions that a
            policy varies.
        devices: where the launch function works. With ``"cpu"`` numerics are proven without a GPU.
    """

    examples: tuple[Mapping[str, Value], ...] = ()
    tolerance: float = 1e-3
    start: int = 0
    stop: int = 0
    deterministic: bool = True
    kernel_depends_on_m: bool = True
    devices: tuple[str, ...] = ("cuda",)
