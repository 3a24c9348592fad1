"""What is made once is made once, whoever asks first."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from once import Once


def test_the_first_makes_it_and_the_others_wait(tmp_path: Path) -> None:
    entered, leave, made = threading.Event(), threading.Event(), []

    def make() -> list[int]:
        entered.set()
        leave.wait()
        made.append(len(made))
        return [7]

    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append(Once(tmp_path)("it", make))) for _ in range(3)]
    for thread in threads:
        thread.start()
    entered.wait()
    leave.set()
    for thread in threads:
        thread.join()
    assert (found, made) == ([[7]] * 3, [0])
    assert Once(tmp_path)("other", lambda: 8) == 8


def test_what_fails_is_tried_again_by_the_next(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        Once(tmp_path)("it", lambda: 1 // 0)
    assert Once(tmp_path)("it", lambda: 1) == 1
