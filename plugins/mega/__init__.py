"""Mega kernels: a whole mixture-of-experts layer, or all of a hyper-connection, in one launch."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry import KernelType, hookimpl


@hookimpl
def kregistry_kernel_types() -> Iterable[KernelType]:
    from kregistry_plugins.mega.gate import Bf16MegaGate
    from kregistry_plugins.mega.mhc import MegaMhc
    from kregistry_plugins.mega.moe_nvfp4 import Nvfp4MegaMoe
    from kregistry_plugins.mega.moe_sm90 import Fp8MegaMoe
    from kregistry_plugins.mega.moe_sm100 import Bf16MegaMoe, Fp8Fp4MegaMoe
    from kregistry_plugins.mega.pre_dispatch import MegaMoePreDispatch, MegaMoePreDispatchSm90
    from kregistry_plugins.mega.pre_dispatch_nvfp4 import MegaMoePreDispatchNvfp4

    return [
        MegaMoePreDispatch(),
        MegaMoePreDispatchNvfp4(),
        MegaMoePreDispatchSm90(),
        Fp8MegaMoe(),
        Fp8Fp4MegaMoe(),
        Nvfp4MegaMoe(),
        Bf16MegaMoe(),
        MegaMhc(),
        Bf16MegaGate(),
    ]
