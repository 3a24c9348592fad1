"""The form of a return value, and a value of a form."""

from __future__ import annotations

import pytest

from kregistry.stub.returned_form import form_of, zeros_of


@pytest.mark.parametrize(
    "form", ["None", "float32[17, 300]", "int32[]", "(int32[4], None)", "(bfloat16[2, 0], (float32[1], None))"]
)
def test_a_value_of_a_form_has_this_form(form: str) -> None:
    pytest.importorskip("torch")
    assert form_of(zeros_of(form)) == form


@pytest.mark.parametrize("form", ["SomeObject", "float32[2], None", "(SomeObject, None)"])
def test_other_objects_have_no_such_value(form: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(ValueError):
        zeros_of(form)
