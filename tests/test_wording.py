from chajong.wording import did_you_mean, listed


def test_lists_the_first_few() -> None:
    assert listed("ab") == "'a', 'b'"
    assert listed((str(i) for i in range(1500)), limit=2) == "'0', '1' and 1,498 more"
    assert listed([]) == ""


def test_guesses_what_was_meant() -> None:
    assert did_you_mean("쏘나타_DN9", ["K5", "쏘나타_DN8"]) == " (did you mean '쏘나타_DN8'?)"
    assert did_you_mean("x", ["K5"]) == ""
