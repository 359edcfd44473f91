"""Work ahead keeps its order, its bound and its errors."""

import threading
import time
from collections.abc import Iterator

import pytest

from chajong.ahead import in_order


def test_what_is_made_comes_in_order() -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.02 if number < 3 else 0)
        return number * number

    assert list(in_order(slow_at_first, range(30), 3, 8)) == [n * n for n in range(30)]
    assert list(in_order(slow_at_first, (), 3, 8)) == []


def test_no_more_is_taken_than_allowed() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    made = in_order(lambda number: number, items(), 2, 5)
    for place in range(10):
        assert next(made) == place
        assert taken <= place + 5
    made.close()  # type: ignore[attr-defined]
    assert taken < 20


def test_an_error_is_raised_in_its_place_and_the_rest_is_given_up() -> None:
    started: list[int] = []
    hold = threading.Event()

    def work(number: int) -> int:
        started.append(number)
        if number == 2:
            raise ValueError(number)
        if number > 2:
            hold.wait(0.05)
        return number

    made = in_order(work, range(100), 1, 50)
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        next(made)
    assert len(started) < 20
