"""What is asked for wins over the environment, which wins over the default."""

from __future__ import annotations

import pytest

from kregistry.compile.shared.sharing_options import VARIABLE, SharingOptions
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
    assert SharingOptions.choose(asked, False, environment) == SharingOptions(shared, False)
    if shared:
        assert SharingOptions.choose(asked, True, environment) == SharingOptions(True, True)
    else:
        with pytest.raises(InputError, match="paranoid compares shared front ends, and none are shared"):
            SharingOptions.choose(asked, True, environment)
