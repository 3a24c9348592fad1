"""The GPU of this machine as a target, without a CUDA context: a context takes memory that the engine counts on."""

from __future__ import annotations

import ctypes
from typing import Any

from kregistry.target import Target, detect_target

# CUdevice_attribute
_SMS, _L2, _MAJOR, _MINOR = 16, 38, 75, 76


def query_target() -> Target:
    """Like :func:`kregistry.target.detect_target`, but through the driver's queries, which need no context.

    Where these do not answer (on the stub GPU), torch is asked.

    Raises:
        MissingRequirement: there is no device.
    """
    return _ask_driver() or detect_target()


def _ask_driver() -> Target | None:
    try:
        driver: Any = ctypes.CDLL("libcuda.so.1")
        device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
        for result in (
            driver.cuInit(0),
            driver.cuDeviceGet(ctypes.byref(device), 0),
            driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device),
            driver.cuDeviceGetName(name, len(name), device),
        ):
            if result != 0:
                return None
        sms, l2, major, minor = (_attribute(driver, device, each) for each in (_SMS, _L2, _MAJOR, _MINOR))
    except (OSError, AttributeError):
        return None
    if not (major and sms and l2 and memory.value):
        return None
    text = name.value.decode()
    return Target(
        name="detected-" + "-".join(text.lower().replace("nvidia", "").split()),
        device_name=text,
        compute_capability=f"{major}.{minor}",
        num_sms=sms,
        l2_bytes=l2,
        memory_bytes=memory.value,
        source="read off the device",
    )


def _attribute(driver: Any, device: ctypes.c_int, number: int) -> int:
    value = ctypes.c_int()
    return value.value if driver.cuDeviceGetAttribute(ctypes.byref(value), number, device) == 0 else 0


def same_gpu(one: Target, other: Target) -> bool:
    """Whether two targets are the same kind of GPU, though two sources may count its memory differently."""
    return (one.device_name, one.compute_capability, one.num_sms) == (
        other.device_name,
        other.compute_capability,
        other.num_sms,
    )
