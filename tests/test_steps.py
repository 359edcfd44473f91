"""The record of a training's steps."""

from pathlib import Path

import pytest

from chajong.steps import FILE, Steps, read_steps


def entries(folder: Path) -> list[tuple[int, float]]:
    return [(entry["step"], entry["loss"]) for entry in read_steps(folder)]


def test_steps_are_written_once_in_a_while(tmp_path: Path) -> None:
    assert read_steps(tmp_path) == []
    folder = tmp_path / "fold-0"  # which training has not made yet
    often, seldom = Steps(folder, 0, every_s=0), Steps(folder, 0, every_s=60)
    assert [often.add(step, {"loss": 1 / step}) for step in (1, 2)] == [True, True]
    assert [seldom.add(step, {"loss": 1 / step}) for step in (3, 4)] == [True, False]
    assert entries(folder) == [(1, 1), (2, 1 / 2), (3, 1 / 3)]
    times = [entry["time_s"] for entry in read_steps(folder)]
    assert times == sorted(times)


def test_what_was_cut_off_is_forgotten(tmp_path: Path) -> None:
    before = Steps(tmp_path, 0, every_s=0)
    for step in (1, 2, 3, 4):
        before.add(step, {"loss": 1.0})
    after = Steps(tmp_path, 2, every_s=0)  # the last checkpoint was of step 2
    after.add(3, {"loss": 0.5})
    assert entries(tmp_path) == [(1, 1), (2, 1), (3, 0.5)]
    Steps(tmp_path, 0)
    assert entries(tmp_path) == []


@pytest.mark.parametrize("torn", ['{"step": 3, "lo', "\0\0\0", ""])
def test_a_torn_line_is_passed_over(torn: str, tmp_path: Path) -> None:
    Steps(tmp_path, 0, every_s=0).add(1, {"loss": 1.0})
    with (tmp_path / FILE).open("a", encoding="utf-8") as file:
        file.write(torn)
    assert entries(tmp_path) == [(1, 1)]
    Steps(tmp_path, 1, every_s=0).add(2, {"loss": 0.5})
    assert entries(tmp_path) == [(1, 1), (2, 0.5)]


def test_a_full_disk_does_not_end_a_training(tmp_path: Path) -> None:
    steps = Steps(tmp_path, 0, every_s=0)
    (tmp_path / FILE).symlink_to("/dev/full")
    assert steps.add(1, {"loss": 1.0})
    assert entries(tmp_path) == []
