"""A dimension that only affects buffer sizes: calls with any value are covered, and recordings keep the largest."""

from __future__ import annotations

from attrs import evolve
from sample_kernel_types import Sample

from kregistry import get_target
from kregistry.manifest import Entry, Manifest
from kregistry.manifest.model import Range
from kregistry.recording.recording import Recording
from kregistry.serving.coverage import Coverage

H100 = get_target("h100")


class Sized(Sample):
    """n only affects buffer sizes."""

    dimensions = (evolve(Sample.dimensions[0], affects_kernel=False), *Sample.dimensions[1:])


def test_any_size_is_covered_and_other_dimensions_count_as_before() -> None:
    kernel_type, coverage = Sized(), Coverage()
    shape = kernel_type.resolve({"n": 64}, H100)
    coverage.add(Manifest("kernels.yaml", H100, ("model",), (Entry("model", "", shape, Range("m", 1, 8)),), {}))
    assert coverage.covers(kernel_type, {"n": 72, "layout": "row"}, 8)
    assert not coverage.covers(kernel_type, {"n": 64, "layout": "column"}, 8)
    assert not coverage.covers(kernel_type, {"n": 64, "layout": "row"}, 9)


def test_a_recording_keeps_the_largest_size() -> None:
    recording = Recording()
    for m, n, layout in ((4, 64, "row"), (2, 8, "row"), (9, 8, "column")):
        recording.add("sample", {"n": n, "layout": layout}, m)
    content = recording.manifest(lambda name: Sized(), H100)
    assert content["models"]["recorded"]["kernels"] == [
        {"type": "sample", "shape": {"n": 64, "layout": "row"}, "m": {"start": 2, "stop": 4}},
        {"type": "sample", "shape": {"n": 8, "layout": "column"}, "m": {"start": 9, "stop": 9}},
    ]
