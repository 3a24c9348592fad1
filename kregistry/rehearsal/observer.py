"""In the process of the engine: each DeepGEMM call is read, with the place in the engine that makes it."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from types import FrameType, ModuleType
from typing import Any, TextIO

from kregistry.kernel_type import EmptyInput
from kregistry.recording.recognition import recognise, why_unknown
from kregistry.registry import Registry
from kregistry.rehearsal.findings import Forward, Line, RehearsedCall, Unread, write_line

#: Packages whose frames are not the engine's, and modules of engines that only pass calls on.
_NOT_ENGINE = ("deep_gemm", "tvm_ffi", "kregistry", "torch", "contextlib", "functools")
_PASS_ON = ("deep_gemm_wrapper", "vllm.utils.deep_gemm")


class Observer:
    """Wraps DeepGEMM's functions, and writes a line for each call that differs from all before.

    Attributes:
        models: the models whose modules are named in calls.
    """

    def __init__(self, out: TextIO) -> None:
        self._registry = Registry()
        self._out = out
        self._seen: set[object] = set()
        self._modules: dict[int, str] = {}
        self._now = Forward("load", 0, 0)
        self._calls: set[object] = set()
        self._inside = False
        self.models: list[Any] = []

    def observe(self, module: ModuleType) -> None:
        """Wrap every function of DeepGEMM that a kernel type knows, also in its modules for layouts."""
        registrations = self._registry.registrations()
        names = {name for each in registrations for name in each.kernel_type.function_names}
        utils = getattr(module, "utils", None)
        for owner in filter(None, (module, utils, getattr(utils, "layout", None))):
            for name in sorted(names & vars(owner).keys()):
                function = getattr(owner, name)
                own = () if module.__name__ == "deep_gemm" else _parameters(function)
                setattr(owner, name, self._wrap(name, function, own))

    def calls(self) -> Set[object]:
        """The calls since this was asked last: kernel types with shapes, without sizes."""
        calls, self._calls = self._calls, set()
        return calls

    def forward(self, forward: Forward) -> None:
        """The calls from now on belong to this forward."""
        self._now = forward
        if forward not in self._seen:
            self._seen.add(forward)
            self.write(forward)

    def write(self, line: Line) -> None:
        write_line(self._out, line)

    def _wrap(self, name: str, function: Callable[..., Any], own: tuple[str, ...]) -> Callable[..., Any]:
        """``own``: the names of its parameters, where it is of another DeepGEMM than the one that is installed."""

        @functools.wraps(function)
        def observed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:  # DeepGEMM calls a function of its own
                return function(*args, **kwargs)
            self._note(name, args, kwargs, own, sys._getframe(1))
            self._inside = True
            try:
                return function(*args, **kwargs)
            finally:
                self._inside = False

        return observed

    def _note(
        self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], own: tuple[str, ...], frame: FrameType
    ) -> None:
        named = {**dict(zip(own, args)), **kwargs}
        found = recognise(self._registry, function, args[len(own) :], named) if own else None
        found = found or recognise(self._registry, function, args, kwargs)
        if found is None:
            if function not in self._seen:
                self._seen.add(function)
                self.write(Unread(function, why_unknown(self._registry, function, args, kwargs), _site(frame)))
            return
        kernel_type, shape, m = found
        if m == 0 and kernel_type.empty_input is not EmptyInput.LAUNCH:
            return
        sizes = kernel_type.buffer_sizes
        self._calls.add((kernel_type.name, tuple(item for item in shape.items() if item[0] not in sizes)))
        site = _site(frame)
        key = (kernel_type.name, tuple(shape.items()), m, self._now, site)
        if key in self._seen:
            return
        self._seen.add(key)
        module, weight = self._module(frame, (*args, *kwargs.values()))
        now = self._now
        self.write(
            RehearsedCall(
                kernel_type.name,
                dict(shape),
                m,
                now.step,
                now.tokens,
                now.requests,
                site,
                _model_site(frame),
                module,
                weight,
            )
        )

    def _module(self, frame: FrameType | None, args: tuple[Any, ...]) -> tuple[str, str]:
        """The innermost module of the model on the stack, and the name of its parameter that was passed."""
        import torch

        if not self._modules:
            for model in self.models:
                self._modules.update({id(module): name for name, module in model.named_modules()})
        for each in _outward(frame):
            for value in list(each.f_locals.values()):
                if isinstance(value, torch.nn.Module) and self._modules.get(id(value)):
                    return self._modules[id(value)], _weight(value, args)
        return "", ""


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the parameters that may be passed by position; empty if the function does not say."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(each.name for each in found if each.kind is each.POSITIONAL_OR_KEYWORD)


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _site(frame: FrameType | None) -> str:
    for each in _outward(frame):
        name = str(each.f_globals.get("__name__", ""))
        if name.partition(".")[0] not in _NOT_ENGINE and not any(part in name for part in _PASS_ON):
            return _place(each)
    return ""


def _model_site(frame: FrameType | None) -> str:
    return next((_place(each) for each in _outward(frame) if ".models." in str(each.f_globals.get("__name__"))), "")


def _place(frame: FrameType) -> str:
    """The file below its package, and the line."""
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    path = frame.f_code.co_filename
    below = path.rfind(f"/{package}/") + 1
    return f"{path[below:] if below else path}:{frame.f_lineno}"


def _weight(module: Any, args: tuple[Any, ...]) -> str:
    """The name of the parameter of a module that is one of the arguments."""
    addresses = {each.untyped_storage().data_ptr() for each in _tensors(args)}
    for name, parameter in module.named_parameters():
        if parameter.untyped_storage().data_ptr() in addresses:
            return str(name)
    return ""


def _tensors(value: Any) -> Iterator[Any]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)
