"""What is asked for wins over the environment, which wins over the default."""

from __future__ import annotations

import pytest

from kregistry.compile.shared.sharing_options import VARIABLE, FrontEndOptions
from kregistry.errors import InputError


@pytest.mark.parametrize(
    ("asked", "value", "shared"),
    [
        (None, None, True),
        (None, "", True),
        (None, "0", True),
        (None, "1", False),
        (True, "1", True),
        (False, None, False),
    ],
)
def test_choice(asked: bool | None, value: str | None, shared: bool) -> None:
    environment = {} if value is None else {VARIABLE: value}
    assert FrontEndOptions.choose(asked, False, environment) == FrontEndOptions(shared, False)
    if shared:
        assert FrontEndOptions.choose(asked, True, environment) == FrontEndOptions(True, True)
    else:
        with pytest.raises(InputError, match="paranoid compares shared front ends, and none are shared"):
            FrontEndOptions.choose(asked, True, environment)
