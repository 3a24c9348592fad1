"""KernelType: the contract between kregistry and the author of a kernel type."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import frozen

from kregistry.errors import MissingRequirement, ShapeError, nearest_hint
from kregistry.kernel_type import buffers as buffers_module
from kregistry.kernel_type.buffers import Buffers, BufferSpec
from kregistry.kernel_type.dimension import Dimension, RunDimension
from kregistry.kernel_type.empty_input import EmptyInput
from kregistry.kernel_type.proof import Proof
from kregistry.kernel_type.setting import Setting
from kregistry.kernel_type.shape import Shape, Value
from kregistry.kernel_type.signature import Arguments, Signature
from kregistry.target import Target

if TYPE_CHECKING:
    import torch


@frozen
class ArchSupport:
    """Whether a kernel type works on one arch.

    Attributes:
        arch: ``"sm90"``, ``"sm100"``, ``"sm120"``.
        deep_gemm: PEP 440 specifier of the DeepGEMM versions that support it; empty: all; ``"none"``: no version.
        reason: why the other versions do not, shown to the user.
    """

    arch: str
    deep_gemm: str = ""
    reason: str = ""


@frozen
class Call:
    """The arguments of one launch."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = {}


class KernelType(ABC):
    """One DeepGEMM entry point.

    An instance is immutable, but for :attr:`bound_call`: it may be used from several threads and pickled by name.
    A subclass declares the class attributes and the abstract methods; the four parts of the contract are

    * buffer allocation: :meth:`buffers` declares, :meth:`allocate_buffers` allocates;
    * execution: :meth:`arguments` says how to call, :meth:`execute` launches;
    * memory requirement: :meth:`memory_requirement`, exact bytes;
    * empty input: :attr:`empty_input`, obeyed by :meth:`launch`.

    Warm-up and serving meet in :meth:`launch`, so that they cannot drift apart.
    """

    #: Name of the kernel type, the word in manifests.
    name: ClassVar[str]
    #: One line for people.
    summary: ClassVar[str]
    #: Static dimensions, in the order they are shown.
    dimensions: ClassVar[tuple[Dimension, ...]]
    #: Process-wide settings of DeepGEMM that its kernels depend on: further dimensions of the manifest.
    settings: ClassVar[tuple[Setting, ...]] = ()
    #: The dimension that varies at run time.
    run_dimension: ClassVar[RunDimension]
    #: Names of the function in ``deep_gemm``, newest first: the first that exists is used.
    function_names: ClassVar[tuple[str, ...]]
    #: Parameters of that function, for :meth:`shape_of` and :meth:`empty_result`.
    signature: ClassVar[Signature] = Signature("*args, **kwargs")
    #: One for each arch that the author knows about; an arch that is not listed is not supported.
    archs: ClassVar[tuple[ArchSupport, ...]]
    empty_input: ClassVar[EmptyInput] = EmptyInput.RETURN
    #: PEP 440 specifier of the DeepGEMM versions whose own function returns at once for an empty input, so that a
    #: sealed call needs no check; empty: all; ``"none"``: no version.
    handles_empty: ClassVar[str] = "none"
    #: The same of versions whose own function raises ``RuntimeError`` for an empty input before it launches anything
    #: (or returns at once), so that a sealed call needs to ask only after such an error.
    raises_on_empty: ClassVar[str] = "none"
    #: Whether the host code reads device memory during a call; the stub GPU refuses it otherwise.
    reads_device_memory: ClassVar[bool] = False
    #: What only the conformance kit asks.
    proof: ClassVar[Proof] = Proof()
    #: What a call of the object calls in place of :meth:`launch`. Serving sets it, on the copy that a registry owns.
    bound_call: Callable[..., Any] | None = None

    # ---- what the author writes ------------------------------------------------------------------------------

    @abstractmethod
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        """Every tensor that the caller owns, large enough for run-time values up to ``max_m``. No torch needed."""

    @abstractmethod
    def arguments(self, buffers: Buffers, m: int) -> Call:
        """The arguments of a launch at run-time value ``m``: views of the buffers, as an engine would pass them."""

    def read_m(self, *args: Any, **kwargs: Any) -> int:
        """The run-time value of a real call, by default the rows of its first argument (data, or data and scales).

        Cheap: every call of a server may go through it. So an override names the parameters that it needs.
        """
        first = args[0] if args else kwargs[self.signature.first]
        rows: int = (first[0] if isinstance(first, (tuple, list)) else first).shape[0]
        return rows

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        """The dimensions of a real call, settings apart, so that they resolve to the shape that planned it.

        Raises:
            ShapeError: the call belongs to another kernel type of the same function.
        """
        raise NotImplementedError(f"{type(self).__name__} must define shape_of()")

    @abstractmethod
    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        """Write fresh random inputs, such as a model would produce, for a launch at ``m``."""

    @abstractmethod
    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """What :meth:`results` must be after a launch at ``m``, in plain torch, at higher precision."""

    def check(self, shape: Shape) -> None:  # noqa: B027 - most kernel types have no such rule
        """Refuse combinations of dimensions that DeepGEMM refuses.

        Raises:
            ShapeError: with the rule that refuses.
        """

    def refusal(self, shape: Shape, m: int) -> str | None:
        """Why a call would harm the process (a crash, not an error); ``None`` if it would not."""
        return None

    def collective(self, shape: Shape) -> str | None:
        """Why a launch waits for other processes; ``None`` if it needs none.

        Such a shape is planned and built as any other, for one process can do that. Nobody launches it alone: warm-up
        leaves its kernels on disk for the first call of the engine, the conformance kit tries it on the stub only.
        """
        return None

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """Views of what a launch at ``m`` writes, every element of it; by default m rows of each output buffer."""
        specs = self.buffers(buffers.shape, buffers.max_m)
        return {name: buffers.tensors[name][:m] for name, spec in specs.items() if spec.role == "output"}

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """What is compared with the reference; the outputs, unless those are parts of a sum."""
        return self.outputs(buffers, m)

    def returned(self, value: Any, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """The results in what a launch returned, for functions that allocate them; they join :meth:`results`."""
        return {}

    def writable(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """Views of all that a launch at ``m`` may write: the outputs, and padding that it may overwrite besides."""
        return self.outputs(buffers, m)

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """Bytes that DeepGEMM allocates on its own during a launch, on top of the buffers."""
        return 0

    def empty_result(self, call: Arguments) -> Any:
        """What a call returns in place of a launch for an empty input; it may write to the arguments."""
        return None

    # ---- what the author gets --------------------------------------------------------------------------------

    @property
    def all_dimensions(self) -> tuple[Dimension, ...]:
        """What a manifest may say: the dimensions, then the settings."""
        return (*self.dimensions, *(setting.dimension for setting in self.settings))

    @property
    def buffer_sizes(self) -> frozenset[str]:
        """Names of the dimensions that only affect the sizes of buffers, never which kernel is chosen."""
        return frozenset(each.name for each in self.dimensions if not each.affects_kernel)

    def resolve(self, values: Mapping[str, object], target: Target) -> Shape:
        """A complete and checked shape.

        Raises:
            ShapeError: an unknown, missing or refused dimension.
        """
        for fault in self.validation_errors(values):
            raise fault
        items: list[tuple[str, Value]] = []
        for dimension in self.all_dimensions:
            if dimension.name in values:
                value = dimension.check(self.name, values[dimension.name])
            else:
                value = dimension.default_for(target)
            dimension.check_for(self.name, value, target)
            items.append((dimension.name, value))
        defaults = {each.name: each.dimension.default_for(target) for each in self.settings}
        hidden = frozenset(name for name, value in items if name in defaults and value == defaults[name])
        shape = Shape(self.name, tuple(items), target, hidden)
        self.check(shape)
        return shape

    def validation_errors(self, values: Mapping[str, object]) -> Iterator[ShapeError]:
        """Every unknown, missing or refused dimension, as far as it can be told without a target."""
        known = {dimension.name: dimension for dimension in self.all_dimensions}
        for name in values:
            if name not in known:
                yield ShapeError(self.name, name, "unknown dimension", nearest_hint(name, known, "dimension"))
        for name, dimension in known.items():
            if name in values:
                try:
                    dimension.check(self.name, values[name])
                except ShapeError as error:
                    yield error
            elif dimension.required:
                yield ShapeError(self.name, name, f"missing, expected {dimension.expectation()}", dimension.meaning)

    def unsupported_reason(self, target: Target, deep_gemm_version: str) -> str | None:
        """Why the kernel type does not work on a target with a DeepGEMM version; ``None`` if it does."""
        for support in self.archs:
            if support.arch != target.arch:
                continue
            if support.deep_gemm == "none":
                return support.reason
            if version_applies(support.deep_gemm, deep_gemm_version):
                return None
            return f"{support.reason} (needs DeepGEMM {support.deep_gemm}, found {deep_gemm_version})"
        supported = ", ".join(support.arch for support in self.archs if support.deep_gemm != "none")
        return f"no support for {target.arch} is declared (supported: {supported})"

    def allocate_buffers(
        self,
        shape: Shape,
        max_m: int,
        device: str | torch.device = "cuda",
        lent: Mapping[str, torch.Tensor] = {},
    ) -> Buffers:
        """Allocate the declared buffers, uninitialised; ``lent`` tensors are used in place of new ones.

        Raises:
            InputError: a lent tensor does not fit its declaration.
        """
        return buffers_module.allocate(shape, max_m, self.buffers(shape, max_m), device, lent)

    def memory_requirement(self, shape: Shape, max_m: int) -> int:
        """Bytes of the buffers for run-time values up to ``max_m``, exact (storages, padding included)."""
        return sum(spec.nbytes for spec in self.buffers(shape, max_m).values())

    def function(self) -> Callable[..., Any]:
        """DeepGEMM's own function (imports deep_gemm).

        Raises:
            MissingRequirement: the installed DeepGEMM has none of the names.
        """
        import deep_gemm

        for name in self.function_names:
            found: Callable[..., Any] | None = getattr(deep_gemm, name, None)
            if found is not None:
                return found
        names = " or ".join(self.function_names)
        raise MissingRequirement(
            f"the installed DeepGEMM has no function {names} (kernel type {self.name})",
            "kregistry doctor shows its version",
        )

    def read_shape(self, *args: Any, **kwargs: Any) -> Mapping[str, Value]:
        """The dimensions of a real call, settings apart: see :meth:`shape_of`."""
        return self.shape_of(self.signature.bind(args, kwargs))

    def launch(self, *args: Any, **kwargs: Any) -> Any:
        """The call that an engine makes: DeepGEMM's function behind the empty-input rule."""
        if self.empty_input is not EmptyInput.LAUNCH and self.read_m(*args, **kwargs) == 0:
            return self.handle_empty(*args, **kwargs)
        return self.function()(*args, **kwargs)

    @property
    def __call__(self) -> Callable[..., Any]:
        """What a call of the object calls: :attr:`bound_call`, or :meth:`launch` where nothing is bound.

        A property, since the interpreter then hands the arguments to the function as they are. A method that passes
        ``*args, **kwargs`` on would cost 0.2 us more (Python 3.12, Xeon; 0.1 us in place of 0.3 us).
        """
        return self.bound_call or self.launch

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles keep: a binding is of this object only."""
        return {name: value for name, value in vars(self).items() if name != "bound_call"}

    def handle_empty(self, *args: Any, **kwargs: Any) -> Any:
        """Called instead of a launch for an empty input, with the arguments of the call: see :meth:`empty_result`.

        A sealed call passes the parameters of DeepGEMM's function by position, to :meth:`read_m` too, as many as each
        accepts.
        """
        return self.empty_result(self.signature.bind(args, kwargs))

    def execute(self, buffers: Buffers, m: int) -> Any:
        """Launch once at run-time value ``m``, through the same function that serving calls."""
        call = self.arguments(buffers, m)
        return self.launch(*call.args, **call.kwargs)

    def __repr__(self) -> str:
        return f"<kernel type {self.name}>"


def version_applies(specifier: str, version: str) -> bool:
    """Whether a PEP 440 specifier, or ``"none"``, holds for a version."""
    from packaging.specifiers import SpecifierSet

    return specifier != "none" and SpecifierSet(specifier).contains(version, prereleases=True)
