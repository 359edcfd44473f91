import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

from chajong.errors import ResourceError, RunError
from chajong.experiments.board import BoardScore, board_lines, read_board
from chajong.experiments.notes import Note, add_note
from chajong.files import write_json
from chajong.reporting.board_plot import draw_board
from tests.test_run import SCORE, finished, started


@pytest.fixture
def scores(tmp_path: Path) -> tuple[BoardScore, ...]:
    # The local log loss of both is 0.5; that of the blend too.
    b, a = finished(tmp_path / "b $x$ 차종").folder, finished(tmp_path / "a").folder
    blend = tmp_path / "blend"
    write_json(blend / "score.json", SCORE.as_dict())
    write_json(blend / "blend.json", {})
    add_note(b, Note("2026-01-02T10:00:00+09:00", "", 0.6))
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
    assert scores[-1].gaps == (None, pytest.approx(0.2))
    assert (scores[3].local, scores[3].gaps) == (None, (None, None))


def test_scores_as_lines(scores: tuple[BoardScore, ...]) -> None:
    lines = list(board_lines(scores))
    assert lines[1] == "2026-01-01 10:00    0.5000   0.4500  -0.0500   0.5000   0.0000  a"
    assert lines[-2] == "board less local: +0.0333 on average, -0.0500 to +0.1000 (3)"
    assert lines[-1] == "private less local: +0.1000 on average, +0.0000 to +0.2000 (2)"


def test_nothing_on_record(tmp_path: Path) -> None:
    add_note(finished(tmp_path / "a").folder, Note("2026", "no score"))
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match="has a leaderboard score on record. Put one there"):
            read_board(folder)


def test_a_damaged_score_is_named(tmp_path: Path) -> None:
    run = finished(tmp_path / "a")
    add_note(run.folder, Note("2026", "", 0.5))
    run.score_path.write_text("{}")
    with pytest.raises(RunError, match=r"score\.json is damaged"):
        read_board(tmp_path)


def test_the_picture_shows_every_score(scores: tuple[BoardScore, ...], tmp_path: Path) -> None:
    path = tmp_path / "board.svg"
    draw_board(scores, path)
    text = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    # A marker is drawn once and used again; 4 local ones, 4 and 3, 2 and 2, and the legend.
    uses = [each.get("{http://www.w3.org/1999/xlink}href", "") for each in root.iter()]
    series = {"#1c2430": 4, "#2360b8": 4 + 3, "#c5701d": 2 + 2}
    for colour, count in series.items():
        drawn = [
            each
            for each in root.iter("{http://www.w3.org/2000/svg}use")
            if f"fill: {colour}" in (each.get("style") or "") and "stroke" in each.get("style", "")
        ]
        assert len(drawn) - 1 == count, colour
    assert any(uses)


@pytest.mark.parametrize("suffix", [".png", ".PNG"])
def test_the_picture_is_a_picture(
    suffix: str, scores: tuple[BoardScore, ...], tmp_path: Path
) -> None:
    path = tmp_path / f"board{suffix}"
    draw_board(scores, path)
    with Image.open(path) as picture:
        assert (picture.format, picture.width) == ("PNG", 1152)
    before = path.read_bytes()
    draw_board(scores, path)
    assert path.read_bytes() == before


def test_one_score_is_enough_for_a_picture(tmp_path: Path) -> None:
    draw_board((BoardScore("a", "2026-01-01", None, 0.4, None),), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_a_picture_of_another_kind(scores: tuple[BoardScore, ...], tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"must end in \.png, \.svg, \.pdf"):
        draw_board(scores, tmp_path / "board.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="a file stands where a folder is needed"):
        draw_board(scores, tmp_path / "file" / "board.png")
