"""Wrong kernel types whose single launches look right, or that break a rule of the stub GPU: each breaks just one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from good_kernel_types import Bf16Gemm, PlainGemm, plain_gemm
from wrong_kernel_types import breaks

from kregistry import Choice, RunDimension, Signature
from kregistry.conformance.poison import OTHER_POISON

if TYPE_CHECKING:
    import torch


#: Rows -> the tensor that ReturnsTheSameTensor returns.
_KEPT: dict[int, Any] = {}
#: What KeepsWhatItIsGiven keeps.
_GIVEN: list[Any] = []
#: What the launches of SharesScratchMemory share.
_SCRATCH: list[Any] = []


class _OwnFunction(PlainGemm):
    """Launches a method of its own."""

    def function(self) -> Callable[..., Any]:
        return self.compute

    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> Any:
        plain_gemm(a, b, d)


@breaks("KR310", "of the same call, made twice: got a difference of .* from the reference")
class AddsToItsOutput(_OwnFunction):
    """The first launch on an output is right: it takes poison for an output that was never written."""

    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        import torch

        poison = int.from_bytes([OTHER_POISON] * 2, "little")
        fresh, held = bool((d.isnan() | (d.view(torch.int16) == poison)).any()), d.clone()
        plain_gemm(a, b, d)
        if not fresh:
            d.add_(held)


@breaks("KR312", "the result 'd': got a difference of .* expected at most .*m=100")
class WrongForOneValue(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        plain_gemm(a, b, d)
        if len(a) == 100:
            d.neg_()


@breaks("KR313", r"changes torch.get_default_dtype\(\), expected no change")
class ChangesTheDefaultDtype(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        import torch

        plain_gemm(a, b, d)
        torch.set_default_dtype(torch.float64 if torch.get_default_dtype() == torch.float32 else torch.float32)


@breaks("KR314", r"the return value of an empty call: got None, expected that of a launch, bfloat16\[1, 24\]")
class ReturnsNothingForAnEmptyInput(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> Any:
        plain_gemm(a, b, d)
        return d


@breaks("KR314", r"the return value of an empty call: got bfloat16\[0, 7\], expected .*, bfloat16\[1, 24\]")
class ReturnsOtherColumnsForAnEmptyInput(ReturnsNothingForAnEmptyInput):
    def empty_result(self, call: Any) -> Any:
        return call.d.new_empty(0, 7)


@breaks("KR313", "the result 'd' of a launch with other settings of torch, .*: got a difference of ")
class KeepsANumberInTheDefaultDtype(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        import torch

        plain_gemm(a, b, d)
        d.copy_((d.float() + torch.tensor(100.3).float()) - 100.3)


@breaks("KR220", "SignatureOfAnother.signature: got 'compiled_dims' at position 3, expected at position 4")
class SignatureOfAnother(Bf16Gemm):
    signature = Signature("a, b, d, compiled_dims='', c=None")


@breaks("KR221", r"execute\(buffers, m\): got no kernel of DeepGEMM, expected at least one")
class LaunchesNothing(Bf16Gemm):
    def launch(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return None if a.is_cuda else super().launch(a, *args, **kwargs)


@breaks("KR222", "output=float16: got .*, expected a launch, since output may be bfloat16 or float16")
class ClaimsAChoiceThatIsRefused(Bf16Gemm):
    output_dtype = ""
    dimensions = (*Bf16Gemm.dimensions, Choice("output", "dtype of the output", ("bfloat16", "float16"), "bfloat16"))

    def buffers(self, shape: Any, max_m: int) -> Any:
        from attrs import evolve

        specs = dict(super().buffers(shape, max_m))
        return {**specs, "d": evolve(specs["d"], dtype=shape.output)}

    def shape_of(self, call: Any) -> Any:
        return {**super().shape_of(call), "output": str(call.d.dtype).removeprefix("torch.")}


@breaks("KR223", "execute.*: got RuntimeError: too many rows, expected a launch")
class RefusesLargeValues(Bf16Gemm):
    def launch(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if a.is_cuda and a.shape[0] > 250:
            raise RuntimeError("too many rows")
        return super().launch(a, *args, **kwargs)


@breaks("KR224", r"what launch\(\) returns for an empty input: got None, expected the form of a launch")
class ReturnsNothingOnTheStub(Bf16Gemm):
    def launch(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        value = super().launch(a, b, d, *args, **kwargs)
        return d if a.is_cuda and a.shape[0] else value


@breaks("KR225", "got change the environment variable DG_PRINT_CONFIGS, expected no change that stays")
class ChangesTheEnvironment(Bf16Gemm):
    def launch(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if a.is_cuda:
            import os

            os.environ["DG_PRINT_CONFIGS"] = "2" if os.environ.get("DG_PRINT_CONFIGS") != "2" else "3"
        return super().launch(a, *args, **kwargs)


@breaks("KR226", "a launch between two steps of 64: got sm90_bf16_gemm.*, or a smaller step: a plan has every 64th")
class PlansEvery64thValue(Bf16Gemm):
    run_dimension = RunDimension("m", "rows", "rows", start=64, step=64)


@breaks("KR227", "a call with d in float32, which is read as n=256 k=512.*: got sm90_bf16_gemm.*; or a ShapeError")
class ReadsNoDtypeOfTheOutput(Bf16Gemm):
    output_dtype = ""


@breaks("KR311", r"the result 'd' of a launch with 'a' multiplied by 2\^16: got a difference of .* from the reference")
class ClampsItsInput(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        plain_gemm(a.clamp(-8, 8), b, d)


@breaks("KR316", r"the result 'd': got NaN in \d+ of \d+ numbers, .*, expected numbers, as in the reference .*m=65540")
class StopsAtFourThousandRows(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        plain_gemm(a[:4000], b, d[:4000])


@breaks("KR316", r"the result 'd': got a difference of \S+ from the reference, expected at most .*: it is .* for n=7")
class RoundsItsSums(_OwnFunction):
    """Adds blocks of columns up in BF16: with the few columns of the examples nobody sees it."""

    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        import torch

        total = torch.zeros(d.shape, dtype=torch.bfloat16)
        for start in range(0, a.shape[1], 64):
            total += (a[:, start : start + 64] @ b[:, start : start + 64].T).bfloat16()
        d.copy_(total)


@breaks("KR317", "got tensor 0 of what it returns is overwritten by one of the next launches")
class ReturnsTheSameTensor(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> torch.Tensor:
        plain_gemm(a, b, d)
        return _KEPT.setdefault(len(d), d.new_empty(len(d))).copy_(d[:, 0])

    def empty_result(self, call: Any) -> Any:
        return call.d.new_empty(0)

    def returned(self, value: Any, buffers: Any, m: int) -> Any:
        return {"first": value}

    def reference(self, buffers: Any, m: int) -> Any:
        d = super().reference(buffers, m)["d"]
        return {"d": d, "first": d[:, 0]}


@breaks("KR318", "the result 'd' of a launch that another thread interrupts: got a difference of .* from the reference")
class SharesScratchMemory(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        _SCRATCH[:] = [a]
        rows = len(d)  # another thread may run here
        plain_gemm(_SCRATCH[0], b, d[:rows])


@breaks("KR317", "what execute.* returns lies in: got the memory of 'a', and memory of its own for n=24")
class ReturnsItsInputForOneColumn(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> torch.Tensor:
        plain_gemm(a, b, d)
        first: torch.Tensor = a[:, :1]
        return first if a.shape[1] == 1 else first.clone()

    def empty_result(self, call: Any) -> Any:
        return call.a.new_empty(0, 1)

    def returned(self, value: Any, buffers: Any, m: int) -> Any:
        return {"first": value}

    def reference(self, buffers: Any, m: int) -> Any:
        return {"d": super().reference(buffers, m)["d"], "first": buffers.a[:m, :1]}


@breaks("KR319", "the result 'd' of a launch with 'a' as columns of a wider tensor: got ")
class TakesRowsForContiguous(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        plain_gemm(a.as_strided(a.shape, (a.shape[1], 1)), b, d)


@breaks(
    "KR319", "a launch with 'd' as columns of a wider tensor: got writes .* bytes between its rows, expected no write"
)
class WritesBetweenRows(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        if d.stride(0) > d.shape[1]:
            d.as_strided((len(d), d.stride(0)), d.stride()).zero_()
        plain_gemm(a, b, d)


@breaks(
    "KR320", "of a launch with 'a' that begins with NaN: got finite numbers only, expected NaN or infinity, as in 24"
)
class HidesNaN(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        plain_gemm(a.nan_to_num(), b, d)


@breaks("KR320", r"where nothing depends on it, of a launch with 'a' whose first row is multiplied by 2\^12: got ")
class OneScaleForAllRows(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        scale = a.abs().max().clamp_min(1e-30) / 127
        exact = not bool(a.isfinite().all())
        plain_gemm(a if exact else (a / scale).round() * scale, b, d)


@breaks("KR321", r"execute\(buffers, m\): got keeps the memory of a, d, expected nothing of it")
class KeepsWhatItIsGiven(_OwnFunction):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        plain_gemm(a, b, d)
        _GIVEN.append((a, d))
