"""KernelType: the contract between kregistry and the author of a kernel type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from kregistry.errors import (
    KregistryError,
    MissingRequirement,
    ShapeError,
    describe_error,
    nearest_hint,
    place_of,
)
from kregistry.kernel_type import buffers as buffers_module
from kregistry.kernel_type.author_contract import AuthorContract
from kregistry.kernel_type.buffers import Buffers
from kregistry.kernel_type.dimension import Dimension
from kregistry.kernel_type.empty_input import EmptyInput
from kregistry.kernel_type.shape import Shape, Value
from kregistry.kernel_type.signature import as_tuple, parameters_of
from kregistry.kernel_type.versions import version_applies
from kregistry.target import Target, device_arch

if TYPE_CHECKING:
    import torch


_KernelType = TypeVar("_KernelType", bound="KernelType")


class KernelType(AuthorContract):
    """One DeepGEMM entry point.

    An instance is immutable except for :meth:`bind`. It may be used from several threads, and is pickled by name.
    A subclass declares the class attributes and the abstract methods of :class:`AuthorContract`; what kregistry does
    with them is written here. The four parts of the contract are

    * buffer allocation: :meth:`buffers` declares, :meth:`allocate_buffers` allocates;
    * execution: :meth:`arguments` gives the arguments of a call, :meth:`execute` launches;
    * memory requirement: :meth:`memory_requirement`, exact bytes;
    * empty input: :attr:`empty_input`, which :meth:`launch` follows.

    Warm-up and serving both call :meth:`launch`, so that they use the same kernels.
    """

    #: What a call of the object runs: :meth:`launch`, or what :meth:`bind` puts in its place. It is a slot, so that the
    #: interpreter hands the arguments to that function as they are (Python 3.11, one keyword: 0.2 us over the function
    #: itself). A property costs 0.1 us more, a method that passes ``*args, **kwargs`` on 0.3 us more.
    __slots__ = ("__call__",)

    def __new__(cls: type[_KernelType], *args: Any, **kwargs: Any) -> _KernelType:
        kernel_type = super().__new__(cls)
        kernel_type.bind(None)
        return kernel_type

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
