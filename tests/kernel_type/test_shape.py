"""Shape: an immutable value that reads as a mapping or by attributes."""

from __future__ import annotations

import copy
import pickle

import pytest
from sample_kernel_types import Sample

from kregistry.kernel_type import Setting, Shape
from kregistry.target import TARGETS

SPLITS = Sample.dimensions[2]


def shape_of(target: str = "h100", **values: object) -> Shape:
    return Sample().resolve({"n": 16, **values}, TARGETS[target])


def test_it_reads_as_a_mapping_and_by_attributes() -> None:
    shape = shape_of(layout="column")
    assert (shape.n, shape["layout"], shape.splits, shape.sms) == (16, "column", None, 132)
    assert list(shape) == ["n", "layout", "splits", "sms"]
    assert len(shape) == 4
    assert dict(shape) == {"n": 16, "layout": "column", "splits": None, "sms": 132}
    assert str(shape) == "n=16 layout=column splits=none sms=132"


def test_equal_shapes_are_one_key() -> None:
    assert {shape_of(), shape_of(), shape_of(n=24), shape_of("h200")} == {shape_of(), shape_of(n=24), shape_of("h200")}
    assert len({shape_of(), shape_of(), shape_of(n=24), shape_of("h200")}) == 3
    assert hash(shape_of()) == hash(shape_of())


def test_it_cannot_be_changed() -> None:
    shape = shape_of()
    with pytest.raises(AttributeError):
        shape.kernel_type = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        shape.n = 8  # type: ignore[misc]
    with pytest.raises(TypeError):
        shape["n"] = 8  # type: ignore[index]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_it_crosses_process_boundaries(protocol: int) -> None:
    shape = shape_of(splits="double")
    again = pickle.loads(pickle.dumps(shape, protocol))
    assert again == shape and hash(again) == hash(shape)
    assert again.n == 16 and again["splits"] == "double"
    assert copy.deepcopy(shape) == shape


def test_an_unknown_dimension_is_named() -> None:
    with pytest.raises(AttributeError, match="shape of sample has no dimension 'q'"):
        _ = shape_of().q
    with pytest.raises(KeyError):
        shape_of()["q"]


def test_at_asks_a_policy_and_leaves_numbers_alone() -> None:
    assert [shape_of(splits="double").at(SPLITS, m) for m in (1, 5)] == [2, 10]
    assert shape_of(splits=3).at(SPLITS, 5) == 3
    assert shape_of().at(SPLITS, 5) is None


def test_it_is_an_honest_mapping() -> None:
    shape = With().resolve({"n": 16}, TARGETS["h100"])
    assert list(shape) == list(shape.keys()) == ["n", "layout", "splits", "sms"] and len(shape) == 4
    assert dict(shape) == {name: shape[name] for name in shape} == dict(shape.items())
    assert all(name in shape for name in shape) and "q" not in shape
    assert shape.get("sms") == 132 and shape.get("q", 7) == 7


class With(Sample):
    dimensions = Sample.dimensions[:3]
    settings = (Setting("sms", get="get_num_sms", set="set_num_sms", default=lambda target: target.num_sms),)


@pytest.mark.parametrize(("target", "sms"), [("h100", 132), ("b200", 148)])
def test_a_setting_is_not_shown_at_its_default(target: str, sms: int) -> None:
    silent = With().resolve({"n": 16}, TARGETS[target])
    assert (silent.sms, silent["sms"]) == (sms, sms)
    assert str(silent) == "n=16 layout=row splits=none"
    assert silent.shown() == {"n": 16, "layout": "row", "splits": None}
    said = With().resolve({"n": 16, "sms": sms}, TARGETS[target])
    assert said == silent and hash(said) == hash(silent) and pickle.loads(pickle.dumps(said)) == said
    other = With().resolve({"n": 16, "sms": 64}, TARGETS[target])
    assert other != silent and other.shown()["sms"] == 64 and str(other).endswith(" sms=64")
    assert With().resolve(other.shown(), TARGETS[target]) == With().resolve(dict(other), TARGETS[target]) == other
