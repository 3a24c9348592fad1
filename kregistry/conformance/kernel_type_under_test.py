"""KernelTypeUnderTest: a kernel type under test, with values that several rules need, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from kregistry.conformance.cases import sweep_of, value_of
from kregistry.conformance.machine import Machine
from kregistry.conformance.rule import NotApplicable
from kregistry.deep_gemm.settings import applied
from kregistry.errors import ShapeError
from kregistry.kernel_type import Buffers, KernelType, Shape
from kregistry.stub.process_state import process_state
from kregistry.target import TARGETS, Target

if TYPE_CHECKING:
    from kregistry.conformance.trial import Trial
    from kregistry.stub.probed import Probed

T = TypeVar("T")


class KernelTypeUnderTest:
    """A kernel type on a machine."""

    def __init__(self, kernel_type: KernelType, machine: Machine) -> None:
        self.kernel_type = kernel_type
        self.machine = machine
        self._known: dict[object, Any] = {}

    @cached_property
    def first_state(self) -> dict[str, str]:
        """The state of the process before any method of the kernel type was called."""
        return process_state()

    @property
    def torch_settings(self) -> dict[str, str]:
        """The settings of torch of :attr:`first_state`."""
        return {name: value for name, value in self.first_state.items() if name.startswith("torch.")}

    def once(self, key: object, make: Callable[[], T]) -> T:
        """The result of the first call of ``make`` for this key."""
        if key not in self._known:
            self._known[key] = make()
        found: T = self._known[key]
        return found

    # ---- targets and shapes ------------------------------------------------------------------------------------

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """One target for each arch that is declared for the installed DeepGEMM (any version if none is installed)."""
        version = self.machine.deep_gemm_version
        claimed = [
            support.arch
            for support in self.kernel_type.archs
            if support.deep_gemm != "none" and (version is None or self._supported(one_of_arch(support.arch), version))
        ]
        return tuple(target for arch in claimed if (target := one_of_arch(arch)) is not None)

    def _supported(self, target: Target | None, version: str) -> bool:
        return target is not None and self.kernel_type.unsupported_reason(target, version) is None

    def shapes(self, target: Target) -> tuple[Shape, ...]:
        """The example shapes that the kernel type accepts on a target."""
        return self.once(("shapes", target.name), lambda: tuple(self._resolve_examples(target)))

    def _resolve_examples(self, target: Target) -> Iterator[Shape]:
        for example in self.kernel_type.proof.examples:
            try:
                yield self.kernel_type.resolve(example, target)
            except ShapeError:
                continue

    @property
    def every_shape(self) -> tuple[Shape, ...]:
        """The example shapes of every target."""
        return tuple(shape for target in self.targets for shape in self.shapes(target))

    def at(self, case: str) -> int:
        return value_of(self.kernel_type, case)

    def padded_rows(self, m: int) -> int:
        """The rows to allocate for a launch at ``m``: a few more than m, so that writes past ``m`` are found."""
        run = self.kernel_type.run_dimension
        return max(m, run.start) + 2 * run.step

    @property
    def returns_results(self) -> bool:
        """Whether the return value of a launch holds results."""
        return type(self.kernel_type).returned is not KernelType.returned

    @contextmanager
    def applied(self, shape: Shape) -> Iterator[None]:
        """Apply the settings of a shape. A setting that differs from its default needs an installed DeepGEMM."""
        with ExitStack() as stack:
            try:
                stack.enter_context(applied(self.kernel_type, shape))
            except ModuleNotFoundError as error:
                if error.name != "deep_gemm":
                    raise
                raise NotApplicable("a setting of the shape is DeepGEMM's, which is not installed") from error
            yield

    # ---- buffers -----------------------------------------------------------------------------------------------

    def meta_buffers(self, shape: Shape, max_m: int) -> Buffers:
        """Buffers on the meta device: shapes, strides and storages without memory."""
        return self.once(("meta", shape, max_m), lambda: self.kernel_type.allocate_buffers(shape, max_m, device="meta"))

    # ---- the stub GPU ------------------------------------------------------------------------------------------

    def probed(self, shape: Shape, values: tuple[int, ...] | None = None) -> Probed:
        """The launches on the stub GPU at some values; by default every value up to the largest case."""
        chosen = sweep_of(self.kernel_type) if values is None else values
        prober = self.machine.prober(shape.target)
        return self.once(("probed", shape, chosen), lambda: prober.probe(self.kernel_type, shape, chosen))

    # ---- a real device -----------------------------------------------------------------------------------------

    @property
    def device(self) -> str:
        """The device for launches: the GPU if there is one and the kernel type works there, else the CPU."""
        from kregistry.conformance.rule import Level

        gpu = "cuda" in self.kernel_type.proof.devices and Level.GPU not in self.machine.unavailable
        return "cuda" if gpu else "cpu"

    @property
    def device_shapes(self) -> tuple[Shape, ...]:
        """The example shapes for :attr:`device`, without those that need other processes."""
        if self.device == "cuda":
            shapes = self.shapes(self.machine.gpu)
        else:
            shapes = self.shapes(self.targets[0]) if self.targets else ()
        return tuple(shape for shape in shapes if self.kernel_type.collective(shape) is None)

    def trial(self, shape: Shape, m: int, seed: int, poison: int) -> Trial:
        """One watched launch on :attr:`device`."""
        from kregistry.conformance.trial import run_trial

        return self.once(
            ("trial", shape, m, seed, poison),
            lambda: run_trial(self.kernel_type, shape, m, self.padded_rows(m), seed, poison, self.device),
        )


def one_of_arch(arch: str) -> Target | None:
    """The first built-in target of an arch."""
    return next((target for target in TARGETS.values() if target.arch == arch), None)


def location(shape: Shape, m: int | None = None) -> str:
    """The place of a violation, for messages: ``"n=24 k=512, m=17, h100"``."""
    value = "" if m is None else f", m={m}"
    return f"{shape}{value}, {shape.target.name}"
