"""AuthorContract: what the author of a kernel type writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import frozen

from kregistry.kernel_type.buffers import Buffers, BufferSpec
from kregistry.kernel_type.dimension import Dimension, RunDimension
from kregistry.kernel_type.empty_input import EmptyInput
from kregistry.kernel_type.proof import Proof
from kregistry.kernel_type.setting import Setting
from kregistry.kernel_type.shape import Shape, Value
from kregistry.kernel_type.signature import Arguments, Signature
from kregistry.kernel_type.versions import ArchSupport

if TYPE_CHECKING:
    import torch


@frozen
class Call:
    """The arguments of one launch."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = {}


class AuthorContract(ABC):
    """The declarations and methods of a kernel type; see :class:`~kregistry.kernel_type.contract.KernelType`."""

    #: Name of the kernel type in manifests.
    name: ClassVar[str]
    #: A description in one line.
    summary: ClassVar[str]
    #: Static dimensions, in display order.
    dimensions: ClassVar[tuple[Dimension, ...]]
    #: Process-wide settings of DeepGEMM that its kernels depend on. In a manifest they are further dimensions.
    settings: ClassVar[tuple[Setting, ...]] = ()
    #: The dimension that varies at run time.
    run_dimension: ClassVar[RunDimension]
    #: Names of the function in ``deep_gemm``, newest first. The first one that exists is used.
    function_names: ClassVar[tuple[str, ...]]
    #: Parameters of that function, for :meth:`shape_of` and :meth:`empty_result`.
    signature: ClassVar[Signature] = Signature("*args, **kwargs")
    #: Optional parameters of that function that :meth:`shape_of` does not read, and that change no kernel, whatever
    #: their value (rule KR211): name -> the archs on which that is so; empty: all.
    without_effect: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: One item for each arch that the author knows about. An arch that is not listed is not supported.
    archs: ClassVar[tuple[ArchSupport, ...]]
    empty_input: ClassVar[EmptyInput] = EmptyInput.RETURN
    #: PEP 440 specifier of the DeepGEMM versions whose own function returns at once for an empty input, so that a
    #: sealed call needs no check. Empty: all versions; ``"none"``: no version.
    handles_empty: ClassVar[str] = "none"
    #: DeepGEMM versions that raise ``RuntimeError`` on empty input before launching, or return at once. For these,
    #: sealed calls check for emptiness only after such an error.
    raises_on_empty: ClassVar[str] = "none"
    #: DeepGEMM versions whose function is a Python function that only passes its parameters, in their order, on to the
    #: function of the same name in ``deep_gemm._C``. A guard of a sealed call then calls that one: one call less.
    passes_on: ClassVar[str] = "none"
    #: Whether the host code reads device memory during a call. If it is false, the stub GPU refuses such reads.
    reads_device_memory: ClassVar[bool] = False
    #: Facts that only the conformance kit uses.
    proof: ClassVar[Proof] = Proof()

    @abstractmethod
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        """The tensors that the caller owns, by name, sized for run-time values up to ``max_m``. Needs no torch."""

    @abstractmethod
    def arguments(self, buffers: Buffers, m: int) -> Call:
        """The arguments of a launch at run-time value ``m``: views of the buffers, as an engine passes them."""

    def read_m(self, *args: Any, **kwargs: Any) -> int:
        """The run-time value of a real call; by default the rows of its first argument (data, or data and scales).

        It must be cheap, because every call of a server may go through it. An override therefore names the parameters
        that it needs.
        """
        first = args[0] if args else kwargs[self.signature.first]
        rows: int = (first[0] if isinstance(first, (tuple, list)) else first).shape[0]
        return rows

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        """The dimensions of a real call, without settings. They resolve to the shape that was planned for it.

        An optional argument that this method does not read must have its default: :meth:`read_shape` sees to that.

        Raises:
            ShapeError: the call belongs to another kernel type of the same function.
        """
        raise NotImplementedError(f"{type(self).__name__} must define shape_of()")

    @abstractmethod
    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        """Fill the inputs of a launch at ``m`` with new random values, such as a model would produce."""

    @abstractmethod
    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """The expected :meth:`results` of a launch at ``m``, computed in plain torch at higher precision."""

    def check(self, shape: Shape) -> None:  # noqa: B027 - most kernel types have no such rule
        """Refuse combinations of dimensions that DeepGEMM refuses.

        Raises:
            ShapeError: the combination is refused; the text states the rule.
        """

    def refusal(self, shape: Shape, m: int) -> str | None:
        """Why a call would crash the process instead of raising an error; ``None`` if it would not."""
        return None

    def linear_arguments(self, shape: Shape) -> bool:
        """Whether :meth:`arguments` at two values of m differ only in sizes, strides and integers linear in m.

        Planning then makes the calls at all values natively, which is faster. It compares many of them with those of
        the kernel type, and goes back to Python if one differs.
        """
        return False

    def largest_m(self, shape: Shape) -> int | None:
        """The largest run-time value that DeepGEMM takes for a shape; ``None`` if only memory limits it."""
        return None

    def collective(self, shape: Shape) -> str | None:
        """Why a launch waits for other processes; ``None`` if it needs none.

        Such a shape is planned and built like any other, which needs only one process. It is never launched alone:
        warm-up leaves its kernels on disk for the first call of the engine, and the conformance kit tries it on the
        stub GPU only.
        """
        return None

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """Views of the elements that a launch at ``m`` writes; by default the first m rows of each output buffer."""
        specs = self.buffers(buffers.shape, buffers.max_m)
        return {name: buffers.tensors[name][:m] for name, spec in specs.items() if spec.role == "output"}

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """The tensors that are compared with the reference: the outputs, unless these are parts of a sum."""
        return self.outputs(buffers, m)

    def returned(self, value: Any, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """The results in the return value of a launch, for functions that allocate them; added to :meth:`results`."""
        return {}

    def writable(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """Views of all elements that a launch at ``m`` may write: the outputs, and padding that it may overwrite."""
        return self.outputs(buffers, m)

    def untouched(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """Views of elements of outputs that a launch at ``m`` is given, and leaves as they are (columns in between)."""
        return {}

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """Bytes that DeepGEMM allocates during a launch, in addition to the buffers."""
        return 0

    def empty_result(self, call: Arguments) -> Any:
        """The return value of a call with an empty input, which launches nothing. May write to the arguments."""
        return None
