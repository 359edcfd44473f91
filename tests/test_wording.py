import math

from chajong.wording import did_you_mean, first_line, listed, moment


def test_lists_the_first_few() -> None:
    assert listed("ab") == "'a', 'b'"
    assert listed((str(i) for i in range(1500)), limit=2) == "'0', '1' and 1,498 more"
    assert listed([]) == ""


def test_guesses_what_was_meant() -> None:
    assert did_you_mean("쏘나타_DN9", ["K5", "쏘나타_DN8"]) == " (did you mean '쏘나타_DN8'?)"
    assert did_you_mean("x", ["K5"]) == ""


def test_what_an_error_says_in_one_line() -> None:
    assert first_line(ValueError("\nno header\nline 2")) == "no header"
    assert first_line(MemoryError()) == "MemoryError"
    assert len(first_line(OSError("x" * 1000))) == 300


def test_times_of_any_offset_are_in_order() -> None:
    # Nine in Seoul is midnight in Greenwich.
    assert moment("2026-01-02T09:00:00+09:00") == moment("2026-01-02T00:00:00+00:00")
    assert moment("2026-01-02T08:59:00+09:00") < moment("2026-01-02T00:00:00+00:00")
    assert moment("yesterday") == -math.inf
