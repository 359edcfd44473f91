import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from chajong.errors import ResourceError
from chajong.experiments.board import BoardScore
from chajong.reporting.board_plot import draw_board

SCORES = (
    BoardScore("a", "2026-01-01T10:00:00+09:00", 0.5, 0.45, 0.5),
    BoardScore("b $x$ 차종", "2026-01-02T10:00:00+09:00", 0.5, 0.6, None),
    BoardScore("blend", "2026-01-03T10:00:00+09:00", 0.5, 0.55, None),
    BoardScore("whole", "2026-01-05T10:00:00+09:00", None, 0.4, None),
    BoardScore("b $x$ 차종", "2026-01-09T10:00:00+09:00", 0.5, None, 0.7),
)
SVG = "{http://www.w3.org/2000/svg}use"


def test_the_picture_shows_every_score(tmp_path: Path) -> None:
    draw_board(SCORES, tmp_path / "board.svg")
    root = ElementTree.fromstring((tmp_path / "board.svg").read_text(encoding="utf-8"))
    styles = [each.get("style") or "" for each in root.iter(SVG)]
    # Four local scores, four and two of the leaderboard; three and two gaps; one in the legend.
    for colour, count in {"#1c2430": 4, "#2360b8": 4 + 3, "#c5701d": 2 + 2}.items():
        drawn = [style for style in styles if f"fill: {colour}" in style and "stroke" in style]
        assert len(drawn) == count + 1, colour


def test_scores_of_one_evening_do_not_lie_on_each_other(tmp_path: Path) -> None:
    times = ("01-01T10:00", "01-01T10:01", "06-01T10:00")
    scores = [BoardScore("a", f"2026-{time}:00+09:00", 0.5, None, 0.6) for time in times]
    draw_board(scores, tmp_path / "b.svg")
    root = ElementTree.fromstring((tmp_path / "b.svg").read_text(encoding="utf-8"))
    local = [use for use in root.iter(SVG) if "fill: #1c2430; stroke" in (use.get("style") or "")]
    level = Counter(use.get("y") for use in local).most_common(1)[0][0]  # the legend is elsewhere
    first, second, third = (float(use.get("x") or 0) for use in local if use.get("y") == level)
    assert second - first == pytest.approx(third - second)
    assert second - first > 100


@pytest.mark.parametrize("suffix", [".png", ".PNG"])
def test_the_picture_is_a_picture(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"board{suffix}"
    draw_board(SCORES, path)
    with Image.open(path) as picture:
        assert (picture.format, picture.width) == ("PNG", 1152)
    before = path.read_bytes()
    draw_board(SCORES, path)
    assert path.read_bytes() == before


def test_one_score_is_enough_for_a_picture(tmp_path: Path) -> None:
    draw_board(SCORES[3:4], tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"must end in \.png, \.svg, \.pdf"):
        draw_board(SCORES, tmp_path / "board.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="a file stands where a folder is needed"):
        draw_board(SCORES, tmp_path / "file" / "board.png")
