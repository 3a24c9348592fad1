"""The calls that an entry covers."""

from __future__ import annotations

import pytest
from sample_kernel_types import Sample
from shapes import entry_of

from kregistry.compile import BrokenKernel, BrokenRange
from kregistry.kernel_type import Setting, Value
from kregistry.manifest import Manifest
from kregistry.serving.coverage import Coverage
from kregistry.target import TARGETS


class With(Sample):
    dimensions = Sample.dimensions[:3]
    settings = (Setting("sms", get="get_num_sms", set="set_num_sms", default=lambda target: target.num_sms),)


@pytest.mark.parametrize(
    ("covered", "shown", "expected"),
    [
        ({}, {}, True),
        ({}, {"sms": 132}, True),
        ({}, {"sms": 64}, False),
        ({"sms": 64}, {"sms": 64}, True),
        ({"sms": 64}, {}, False),
    ],
)
def test_a_call_that_does_not_show_a_setting_has_its_default(
    covered: dict[str, Value], shown: dict[str, Value], expected: bool
) -> None:
    coverage = Coverage()
    coverage.add(Manifest("k.yaml", TARGETS["h100"], ("model",), (entry_of(With(), n=8, **covered),), {}))
    call = {"n": 8, "layout": "row", "splits": None, **shown}
    assert coverage.covers(With(), call, 3) is expected


@pytest.mark.parametrize(
    ("broken", "shown", "crashes"),
    [({}, {}, True), ({}, {"sms": 64}, False), ({"sms": 64}, {"sms": 64}, True), ({"sms": 64}, {}, False)],
)
def test_a_crash_is_expected_by_the_same_rule(broken: dict[str, Value], shown: dict[str, Value], crashes: bool) -> None:
    entry, coverage = entry_of(With(), n=8, **broken), Coverage()
    kernel = BrokenKernel("kernel", "key", "error", (BrokenRange(entry, 1, 4),))
    coverage.add(Manifest("k.yaml", TARGETS["h100"], ("model",), (entry,), {}), [kernel])
    assert coverage.crashes(With(), {"n": 8, "layout": "row", "splits": None, **shown}, 3) is crashes
