"""KernelType: the contract between kregistry and the author of a kernel type."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from attrs import frozen

from kregistry.errors import (
    KregistryError,
    MissingRequirement,
    ShapeError,
    describe_error,
    nearest_hint,
    place_of,
)
from kregistry.kernel_type import buffers as buffers_module
from kregistry.kernel_type.buffers import Buffers, BufferSpec
from kregistry.kernel_type.dimension import Dimension, RunDimension
from kregistry.kernel_type.empty_input import EmptyInput
from kregistry.kernel_type.proof import Proof
from kregistry.kernel_type.setting import Setting
from kregistry.kernel_type.shape import Shape, Value
from kregistry.kernel_type.signature import Arguments, Signature, as_tuple, parameters_of
from kregistry.kernel_type.versions import ArchSupport, version_applies
from kregistry.target import Target, device_arch

if TYPE_CHECKING:
    import torch


@frozen
class Call:
    """The arguments of one launch."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = {}


_KernelType = TypeVar("_KernelType", bound="KernelType")


class KernelType(ABC):
    """One DeepGEMM entry point.

    An instance is immutable except for :meth:`bind`. It may be used from several threads, and is pickled by name.
    A subclass declares the class attributes and the abstract methods; the four parts of the contract are

    * buffer allocation: :meth:`buffers` declares, :meth:`allocate_buffers` allocates;
    * execution: :meth:`arguments` gives the arguments of a call, :meth:`execute` launches;
    * memory requirement: :meth:`memory_requirement`, exact bytes;
    * empty input: :attr:`empty_input`, which :meth:`launch` follows.

    Warm-up and serving both call :meth:`launch`, so that they use the same kernels.
    """

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
    #: What a call of the object runs: :meth:`launch`, or what :meth:`bind` puts in its place. It is a slot, so that the
    #: interpreter hands the arguments to that function as they are (Python 3.11, one keyword: 0.2 us over the function
    #: itself). A property costs 0.1 us more, a method that passes ``*args, **kwargs`` on 0.3 us more.
    __slots__ = ("__call__",)

    def __new__(cls: type[_KernelType], *args: Any, **kwargs: Any) -> _KernelType:
        kernel_type = super().__new__(cls)
        kernel_type.bind(None)
        return kernel_type

    # ---- written by the author -------------------------------------------------------------------------------

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

    # ---- provided by this class ------------------------------------------------------------------------------

    @property
    def all_dimensions(self) -> tuple[Dimension, ...]:
        """The dimensions of the manifest: those of the kernel type, then its settings."""
        return (*self.dimensions, *(setting.dimension for setting in self.settings))

    @property
    def buffer_sizes(self) -> frozenset[str]:
        """Names of the dimensions that only affect the sizes of buffers, never which kernel is chosen."""
        return frozenset(each.name for each in self.dimensions if not each.affects_kernel)

    def hidden_defaults(self, target: Target) -> Mapping[str, Value]:
        """The defaults of the settings, and of the dimensions that manifests leave out at their default."""
        hidden = (each for each in self.dimensions if each.hidden_at_default)
        return {each.name: each.default_for(target) for each in (*hidden, *(one.dimension for one in self.settings))}

    def resolve(self, values: Mapping[str, object], target: Target) -> Shape:
        """The complete, checked shape for values of a manifest; defaults are filled in.

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
        defaults = self.hidden_defaults(target)
        hidden = frozenset(name for name, value in items if name in defaults and value == defaults[name])
        shape = Shape(self.name, tuple(items), target, hidden)
        self._check(shape)
        return shape

    def _check(self, shape: Shape) -> None:
        """Call :meth:`check`; whatever it raises becomes a ShapeError with the name of the kernel type."""
        try:
            self.check(shape)
        except ShapeError as error:
            if error.kernel_type:
                raise
            raise ShapeError(self.name, error.dimension, error.text, error.hint) from error
        except KregistryError:
            raise
        except Exception as error:
            text = f"check() failed for {shape}: {describe_error(error)} ({place_of(error)})"
            raise ShapeError(self.name, "", text, "this is a fault of the plugin: tell its author") from error

    def validation_errors(self, values: Mapping[str, object]) -> Iterator[ShapeError]:
        """Every unknown, missing or refused dimension that can be found without a target."""
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
        """Allocate the declared buffers, uninitialised.

        Args:
            lent: name of a buffer -> a tensor to borrow in place of a new one.

        Raises:
            InputError: a borrowed tensor does not match its declaration.
        """
        return buffers_module.allocate(shape, max_m, self.buffers(shape, max_m), device, lent)

    def memory_requirement(self, shape: Shape, max_m: int) -> int:
        """Exact bytes of the buffers for run-time values up to ``max_m``: their storages, including padding."""
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
        known = [name for name, value in vars(deep_gemm).items() if callable(value) and not name.startswith("_")]
        near = nearest_hint(self.function_names[-1], known, "function", cutoff=0.8) if self.function_names else ""
        raise MissingRequirement(
            f"the installed DeepGEMM has no function {names} (kernel type {self.name})",
            near if near.startswith("did you mean") else "kregistry doctor shows the version of DeepGEMM",
        )

    def read_shape(self, *args: Any, **kwargs: Any) -> Mapping[str, Value]:
        """The dimensions of a real call, without settings; see :meth:`shape_of`.

        Raises:
            ShapeError: the call belongs to another kernel type, or has an optional argument that may choose other
                kernels, and that the kernel type does not read.
        """
        call = self.signature.bind(args, kwargs)
        shape = self.shape_of(call)
        for name, value in self.signature.ignored(call, args, self._own_parameters()):
            if not self._has_no_effect(name):
                plain = all(isinstance(each, (str, int, float)) for each in as_tuple(value))
                shown = repr(value) if plain else f"a {type(value).__name__}"
                text = f"a call with {name} = {shown}, which the kernel type does not read"
                raise ShapeError(self.name, "", text, "no kernel type plans such a call")
        return shape

    def _has_no_effect(self, argument: str) -> bool:
        """Whether an optional argument changes no kernel on the device of this process; on all if there is none."""
        archs = self.without_effect.get(argument)
        return archs is not None and (not archs or device_arch() in (*archs, None))

    def _own_parameters(self) -> Mapping[str, Any]:
        """The parameters of the function, with their defaults; empty if the function is not there."""
        try:
            return parameters_of(self.function())
        except (MissingRequirement, ImportError):
            return {}

    def launch(self, *args: Any, **kwargs: Any) -> Any:
        """The call that an engine makes: DeepGEMM's function, after the check for an empty input."""
        if self.empty_input is not EmptyInput.LAUNCH and self.read_m(*args, **kwargs) == 0:
            return self.handle_empty(*args, **kwargs)
        return self.function()(*args, **kwargs)

    if TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def bind(self, function: Callable[..., Any] | None) -> None:
        """Let a call of the object run a function, or :meth:`launch` again.

        Serving binds the copy of the kernel type that a registry owns.
        """
        self.__call__ = function or self.launch  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies and pickles: a copy runs its own :meth:`launch`."""
        return dict(vars(self))

    def handle_empty(self, *args: Any, **kwargs: Any) -> Any:
        """Called instead of a launch for an empty input, with the arguments of the call; see :meth:`empty_result`.

        A sealed call passes the parameters of DeepGEMM's function by position to this method and to :meth:`read_m`, as
        many as each accepts.
        """
        return self.empty_result(self.signature.bind(args, kwargs))

    def execute(self, buffers: Buffers, m: int) -> Any:
        """Launch once at run-time value ``m``, through the same function that serving calls."""
        call = self.arguments(buffers, m)
        return self.launch(*call.args, **call.kwargs)

    def __repr__(self) -> str:
        return f"<kernel type {self.name}>"
