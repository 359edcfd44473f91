"""Charts put points where they belong."""

import math
import re

import pytest

from chajong.reporting.charts import HEIGHT, WIDTH, Series, chart


def points_of(path: str) -> list[tuple[float, float]]:
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", path)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_points_lie_between_the_ends() -> None:
    made = chart("t", "x", [Series("s", "one", [(1, 5.0), (2, 3.0), (3, 4.0)])])
    (left, high), (_, low), (right, middle) = points_of(made.lines[0].path)
    assert [left, right] == [40, WIDTH - 10]
    assert [high, low] == [10, HEIGHT - 24]
    assert middle == pytest.approx((high + low) / 2)


def test_ticks_are_round_numbers_at_their_places() -> None:
    made = chart("t", "x", [Series("s", "one", [(0, 0.0), (18, 5.7)])])
    assert [tick.text for tick in made.x_ticks] == ["0", "5", "10", "15"]
    assert [tick.text for tick in made.y_ticks] == ["0", "2", "4"]
    assert made.y_ticks[1].at == pytest.approx(176 - 2 / 5.7 * 166, abs=0.1)


def test_shares_are_said_in_percent_within_their_ends() -> None:
    made = chart(
        "t", "x", [Series("s", "one", [(0.5, 1.4)])],
        x_range=(0, 1), y_range=(0, 1), bars=[(0.5, 0.2, 0.6)], dots=True, percent=True,
    )  # fmt: skip
    assert [tick.text for tick in made.x_ticks] == ["0%", "20%", "40%", "60%", "80%", "100%"]
    assert list(made.lines[0].dots) == [(185, 10)]  # what lies above ends at the top
    assert made.bars[0].top < made.bars[0].bottom


@pytest.mark.parametrize(
    ("top", "said"),
    [
        (0.01, ["0.0%", "0.2%", "0.4%", "0.6%", "0.8%", "1.0%"]),
        (0.02, ["0.0%", "0.5%", "1.0%", "1.5%", "2.0%"]),
        (0.5, ["0%", "10%", "20%", "30%", "40%", "50%"]),
    ],
)
def test_small_shares_are_told_apart(top: float, said: list[str]) -> None:
    made = chart("t", "x", [], x_range=(0, 1), y_range=(0, top), percent=True)
    assert [tick.text for tick in made.y_ticks] == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.30004, 0.3003, ["0.3001", "0.3002", "0.3003"]),
        (0.0, 0.00003, ["0", "1e-05", "2e-05", "3e-05"]),
        (-1.0, 1.0, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        (12340.0, 12390.0, ["12340", "12350", "12360", "12370", "12380", "12390"]),
    ],
)
def test_numbers_are_told_apart(low: float, high: float, said: list[str]) -> None:
    made = chart("t", "x", [], x_range=(0, 1), y_range=(low, high))
    assert [tick.text for tick in made.y_ticks] == said


def test_what_never_changes_lies_in_the_middle_of_its_own_size() -> None:
    made = chart("t", "x", [Series("s", "one", [(0, 0.003), (1, 0.003)])])
    assert [tick.text for tick in made.y_ticks] == ["0.002", "0.003", "0.004"]
    assert {y for _, y in points_of(made.lines[0].path)} == {made.y_ticks[1].at}


def test_what_is_counted_has_whole_marks() -> None:
    made = chart("t", "epoch", [Series("s", "one", [(1, 0.2), (3, 0.1)])], whole=True)
    assert [tick.text for tick in made.x_ticks] == ["1", "2", "3"]
    assert [tick.text for tick in made.y_ticks] == ["0.10", "0.12", "0.14", "0.16", "0.18", "0.20"]


def test_what_is_not_finite_is_left_out_and_nothing_is_a_chart_too() -> None:
    series = [Series("s", "one", [(1, math.nan), (2, 1.0), (3, math.inf)])]
    assert len(points_of(chart("t", "x", series).lines[0].path)) == 1
    assert chart("t", "x", [Series("s", "one", [])]).lines[0].path == ""


def test_each_kind_has_one_key() -> None:
    twice = [Series("loss", "one", [(0, 1), (1, 0)])] * 2 + [Series("other", "two", [(0, 0)])]
    assert chart("t", "x", twice).keys == (("loss", "one"), ("other", "two"))
