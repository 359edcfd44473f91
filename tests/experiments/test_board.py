from pathlib import Path

import pytest

from chajong.errors import RunError
from chajong.experiments.board import BoardScore, board_lines, read_board
from chajong.experiments.notes import Note, add_note
from chajong.files import write_json
from tests.runs import SCORE, finished, started


@pytest.fixture
def scores(tmp_path: Path) -> tuple[BoardScore, ...]:
    # The local log loss of both is 0.5; that of the blend too.
    b, a = finished(tmp_path / "b $x$ 차종").folder, finished(tmp_path / "a").folder
    blend = tmp_path / "blend"
    write_json(blend / "score.json", SCORE.as_dict())
    write_json(blend / "blend.json", {})
    add_note(b, Note("2025-12-31T23:30:00-05:00", "", 0.6))
    add_note(b, Note("2026-01-09T10:00:00+09:00", "the end", None, 0.7))
    add_note(b, Note("2026-01-08T10:00:00+09:00", "no score"))
    add_note(a, Note("2026-01-01T10:00:00+09:00", "", 0.45, 0.5))
    add_note(blend, Note("2026-01-03T10:00:00+09:00", "", 0.55))
    add_note(started(tmp_path / "whole", models=("all",)).folder, Note("2026-01-05", "", 0.4))
    return read_board(tmp_path)


def test_scores_are_read_in_the_order_of_time(scores: tuple[BoardScore, ...]) -> None:
    assert [row.run for row in scores] == ["a", "b $x$ 차종", "blend", "whole", "b $x$ 차종"]
    assert scores[0] == BoardScore("a", "2026-01-01T10:00:00+09:00", 0.5, 0.45, 0.5)
    assert scores[0].gaps == pytest.approx((-0.05, 0))
    assert scores[-1].gaps[1] == pytest.approx(0.2)
    assert (scores[3].local, scores[3].gaps) == (None, (None, None))


def test_scores_as_lines(scores: tuple[BoardScore, ...]) -> None:
    lines = list(board_lines(scores))
    assert lines[1] == "2026-01-01 10:00    0.5000   0.4500  -0.0500   0.5000   0.0000  a"
    assert lines[-2] == "board less local: +0.0333 on average, -0.0500 to +0.1000 (3)"
    assert lines[-1] == "private less local: +0.1000 on average, +0.0000 to +0.2000 (2)"


def test_nothing_on_record(tmp_path: Path) -> None:
    add_note(finished(tmp_path / "a").folder, Note("2026-01-01", "no score"))
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match=r"has a leaderboard score on record\. Put one there"):
            read_board(folder)


def test_what_is_damaged_is_named_and_the_rest_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        add_note(finished(tmp_path / name).folder, Note("2026-01-01", "", 0.5))
    (tmp_path / "a" / "score.json").write_text("{}")
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "notes.jsonl").write_text("today")
    assert [row.run for row in read_board(tmp_path)] == ["b"]
    said = capsys.readouterr().err
    assert "left out: " in said
    assert "score.json is damaged" in said
    assert "diary is no run and no blend" in said
