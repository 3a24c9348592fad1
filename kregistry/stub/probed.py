"""What single launches on the stub GPU did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict, evolve, frozen


@frozen
class ProbedLaunch:
    """One launch on the stub GPU.

    Attributes:
        error: what DeepGEMM or the kernel type raised.
        libraries: numbers of the libraries that the launched kernels are in, in order, as the process counts them.
        kernels: ids of these kernels. torch's own kernels are not among them.
        host_reads: copies from device memory to the host.
        host_waits: synchronisations of a stream, an event or the device.
        foreign_launches: launches on a stream other than the current one, torch's included.
        cublaslt_calls: matrix products that cuBLASLt was asked to compute.
        result: the form of the return value, as :func:`~kregistry.stub.returned_form.form_of` gives it.
        device_calls: calls that chose the current device for good; counted at one value of a probe only.
        nbytes: the most bytes that torch's allocator had given out at once during the call.
    """

    error: str = ""
    libraries: tuple[int, ...] = ()
    kernels: tuple[str, ...] = ()
    host_reads: int = 0
    host_waits: int = 0
    foreign_launches: int = 0
    cublaslt_calls: int = 0
    result: str = ""
    device_calls: int = 0
    nbytes: int = 0

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ProbedLaunch:
        return cls(**{**content, "libraries": tuple(content["libraries"]), "kernels": tuple(content["kernels"])})

    def named(self, kernels: Mapping[int, str]) -> ProbedLaunch:
        """The same launch, with the ids of its kernels."""
        return evolve(self, kernels=tuple(kernels[library] for library in self.libraries))


@frozen
class ProbedValue:
    """The launches at one run-time value.

    Attributes:
        m: the run-time value.
        refusal: why the kernel type refuses the value; then nothing was launched.
        warm_up: :meth:`~kregistry.KernelType.execute`, with buffers of exactly this size.
        serving: :meth:`~kregistry.KernelType.launch`, with arguments that are part of larger buffers.
        stream: as ``warm_up``, but with the larger buffers, and on another stream than the default one.
        sealed: the sealed call in place of the launch; at value 0 only, unless the kernel type declares ``passes_on``.
        read: what :meth:`~kregistry.KernelType.read_m` makes of the call of ``serving``; ``None`` if it raises.
    """

    m: int
    refusal: str = ""
    warm_up: ProbedLaunch = ProbedLaunch()
    serving: ProbedLaunch = ProbedLaunch()
    stream: ProbedLaunch = ProbedLaunch()
    sealed: ProbedLaunch = ProbedLaunch()
    read: int | None = None

    @property
    def launches(self) -> tuple[ProbedLaunch, ...]:
        return self.warm_up, self.serving, self.stream

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ProbedValue:
        launches = {name: ProbedLaunch.from_json(content[name]) for name in _LAUNCHES}
        return cls(content["m"], content["refusal"], **launches, read=content["read"])

    def named(self, kernels: Mapping[int, str]) -> ProbedValue:
        """The same value, with the ids of all kernels."""
        return evolve(self, **{name: getattr(self, name).named(kernels) for name in _LAUNCHES})


_LAUNCHES = ("warm_up", "serving", "stream", "sealed")


@frozen
class Probed:
    """The answer to one probe.

    Attributes:
        values: one for each run-time value that was asked for; empty after an error.
        error: why there is no answer: the kernel type cannot be sent, it refuses the shape, or the process died.
        loaded: whether the process could import the kernel type.
        changed: what the launches changed in the process and did not restore: names of
            :func:`~kregistry.stub.process_state.process_state`.
    """

    values: tuple[ProbedValue, ...] = ()
    error: str = ""
    loaded: bool = True
    changed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Probed:
        values = tuple(ProbedValue.from_json(value) for value in content["values"])
        return cls(values, content["error"], content["loaded"], tuple(content["changed"]))
