"""The stub GPU answers as the device of the target does: programs that are not DeepGEMM run on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from on_stub import answer

#: One process asks everything: importing torch is what costs.
SCRIPT = """
import ctypes, json, os, sys
import torch

def answer(**values):
    print("ANSWER " + json.dumps(values))

def message(action):
    try:
        return str(action())
    except Exception as error:
        return f"{type(error).__name__}: {error}"

GIB = 1 << 30
x = torch.zeros(64, dtype=torch.int64, device="cuda")
f = torch.zeros(8, 8, device="cuda")
properties = torch.cuda.get_device_properties(0)
found = {
    "device": [properties.name, properties.major, properties.minor, properties.multi_processor_count],
    "threads": properties.max_threads_per_multi_processor,
    "cub": [list(each.shape) for each in (torch.cumsum(x, 0), torch.sort(x)[0], torch.topk(x, 3)[0], torch.nonzero(x))],
    "random": list(torch.randperm(100, device="cuda").shape),
    "blas": [list((each @ each).shape) for each in (f, f.half(), f.double(), f[None])],
    "item": (f @ f).sum().item(),
    "pinned": [torch.empty(4).pin_memory().is_pinned(), torch.empty(4).is_pinned()],
    "host copy": torch.arange(4).pin_memory().clone().tolist(),
}
start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
start.record(); end.record(); end.synchronize()
found["elapsed"] = start.elapsed_time(end) >= 0

torch.cuda.empty_cache()
free, total = torch.cuda.mem_get_info()
big = torch.empty(40 * GIB, dtype=torch.uint8, device="cuda")
found["memory"] = [total // GIB, (free - torch.cuda.mem_get_info()[0]) // GIB]
found["too much"] = message(lambda: torch.empty(41 * GIB, dtype=torch.uint8, device="cuda"))
del big
torch.cuda.empty_cache()
found["freed"] = torch.cuda.mem_get_info()[0] == free
for _ in range(200):  # twice the address space of a device
    del_me = torch.empty(50 * GIB, dtype=torch.uint8, device="cuda")
    del del_me
    torch.cuda.empty_cache()

side = torch.cuda.Stream()
graph = torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    y = f + 1
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        forked = torch.cuda.is_current_stream_capturing()
    torch.cuda.current_stream().wait_stream(side)
graph.replay()
torch.cuda.synchronize()
found["capture"] = [forked, torch.cuda.is_current_stream_capturing()]

found["devices"] = [torch.cuda.device_count(), torch.cuda.can_device_access_peer(0, 1)]
other = torch.zeros(4, device="cuda:1")
found["other device"] = [str(other.device), str(other.to("cuda:0").device), (other.cpu()).tolist()]
found["no such device"] = message(lambda: torch.zeros(1, device="cuda:7")).splitlines()[0]

def capture_a_read():
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        f.sum().item()

found["read in a capture"] = message(capture_a_read).splitlines()[0]

os.environ["KREGISTRY_STUB_OVERFLOW"] = str(400 * GIB)
large = [torch.empty(50 * GIB, dtype=torch.uint8, device="cuda") for _ in range(3)]
del os.environ["KREGISTRY_STUB_OVERFLOW"]
overflow = ctypes.CDLL(None).kregistry_stub_overflow
overflow.restype = ctypes.c_size_t
found["overflow"] = [overflow() // GIB, torch.cuda.mem_get_info()[0] // GIB]
found["beyond the overflow"] = message(lambda: torch.empty(400 * GIB, dtype=torch.uint8, device="cuda"))
answer(**found)
"""

UNKNOWN = """
import ctypes, json
cuda = ctypes.CDLL("libcuda.so.1")
codes = [cuda.cuMulticastCreate(0, 0), cuda.cuMulticastCreate(0, 0), cuda.cuArrayCreate_v2(0, 0)]
runtime = ctypes.CDLL(None).cudaMallocManaged
address, found = ctypes.c_void_p(), ctypes.c_int()
look_up = cuda.cuGetProcAddress_v2
found_code = look_up(b"cuNoSuchFunction", ctypes.byref(address), 13000, ctypes.c_uint64(0), ctypes.byref(found))
nvml = ctypes.CDLL("libnvidia-ml.so.1")
count = ctypes.c_uint()
nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
print("ANSWER " + json.dumps(dict(codes=codes, runtime=runtime(0, 0, 0), look_up=found_code, devices=count.value)))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    extra = {"KREGISTRY_STUB_COUNT_MEMORY": "1", "KREGISTRY_STUB_DEVICES": "2"}
    return answer(SCRIPT, tmp_path_factory.mktemp("home"), prelude="", **extra)


@pytest.mark.stub
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("device", ["NVIDIA H100 80GB HBM3", 9, 0, 132]),
        ("threads", 2048),
        ("cub", [[64], [64], [3], [0, 1]]),
        ("random", [100]),
        ("blas", [[8, 8], [8, 8], [8, 8], [1, 8, 8]]),
        ("item", 0.0),
        ("pinned", [True, False]),
        ("host copy", [0, 1, 2, 3]),
        ("elapsed", True),
        ("memory", [80, 40]),
        ("freed", True),
        ("overflow", [400, 80]),
        ("capture", [True, False]),
        ("devices", [2, True]),
        ("other device", ["cuda:1", "cuda:0", [0.0, 0.0, 0.0, 0.0]]),
    ],
)
def test_torch_runs(found: Mapping[str, Any], what: str, expected: object) -> None:
    assert found[what] == expected


@pytest.mark.stub
@pytest.mark.parametrize(
    ("what", "text"),
    [
        (
            "too much",
            "OutOfMemoryError: CUDA out of memory. Tried to allocate 41.00 GiB. GPU 0 has a total capacity of 80",
        ),
        ("beyond the overflow", "OutOfMemoryError: CUDA out of memory. Tried to allocate 400.00 GiB."),
        ("no such device", "AcceleratorError: CUDA error: invalid device ordinal"),
        ("read in a capture", "AcceleratorError: CUDA error: operation failed due to a previous error during capture"),
    ],
)
def test_what_the_device_refuses_is_refused(found: Mapping[str, Any], what: str, text: str) -> None:
    assert found[what].startswith(text)


@pytest.mark.stub
def test_a_function_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    from on_stub import run

    done = run(UNKNOWN, tmp_path, prelude="")
    assert done.stdout == 'ANSWER {"codes": [801, 801, 801], "runtime": 801, "look_up": 500, "devices": 1}\n'
    assert done.stderr.splitlines() == [
        "stub: cuMulticastCreate is not there",
        "stub: cuArrayCreate_v2 is not there",
        "stub: cudaMallocManaged is not there",
    ]
