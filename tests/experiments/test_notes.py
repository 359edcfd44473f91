import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chajong.errors import RunError
from chajong.experiments.notes import Note, add_note, latest, read_notes
from tests.runs import started

FIRST = Note("2026-01-01T10:00:00+09:00", "밤 사진\u2028으로", 0.1245)
SECOND = Note("2026-01-02T10:00:00+09:00", "", None, 0.1298)


def test_notes_are_appended_and_read_back(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    assert read_notes(run.folder) == ()
    add_note(run.folder, FIRST)
    before = (run.folder / "notes.jsonl").read_bytes()
    add_note(run.folder, SECOND)
    after = (run.folder / "notes.jsonl").read_bytes()
    assert read_notes(run.folder) == (FIRST, SECOND)
    assert after.startswith(before)
    lines = after.decode().removesuffix("\n").split("\n")
    assert [json.loads(line)["text"] for line in lines] == [FIRST.text, ""]


def test_notes_of_a_blend(tmp_path: Path) -> None:
    (tmp_path / "blend.json").write_text("{}")
    add_note(tmp_path, FIRST)
    assert read_notes(tmp_path) == (FIRST,)


def test_a_note_as_a_line() -> None:
    assert FIRST.line() == "2026-01-01 10:00  board 0.1245  밤 사진 으로"
    assert SECOND.line() == "2026-01-02 10:00  private 0.1298"


def test_the_latest_score() -> None:
    third = Note("2026-01-01", "", 0.2)
    assert latest((FIRST, SECOND, third, Note("2027-01-01", "x")), "board") == 0.2
    assert latest((FIRST, SECOND), "board_private") == 0.1298
    assert latest((FIRST,), "board_private") is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("", None, None), "A note needs a text, or a score"),
        (("  ", None, None), "A note needs a text, or a score"),
        (("x", -0.1, None), "--board must be a number of 0 or more. Got -0.1."),
        (("x", float("nan"), None), "--board must be a number"),
        (("x", None, float("inf")), "--board-private must be a number"),
        (("\udcff", None, None), "must be text that UTF-8 can hold"),
    ],
)
def test_notes_that_cannot_be(values: tuple[str, float | None, float | None], said: str) -> None:
    with pytest.raises(RunError) as caught:
        Note("2026-01-01", *values)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["[", '{"when": "x"}', '"x"', "\udcff", '{"when": 1, "text": ""}'])
def test_damaged_notes_are_named_and_kept(text: str, tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    add_note(run.folder, FIRST)
    path = run.folder / "notes.jsonl"
    with path.open("ab") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    before = path.read_bytes()
    for call in (lambda: read_notes(run.folder), lambda: add_note(run.folder, SECOND)):
        with pytest.raises(RunError, match=r"notes\.jsonl is damaged"):
            call()
    assert path.read_bytes() == before


def test_a_last_line_without_an_end_is_a_line(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    add_note(run.folder, FIRST)
    path = run.folder / "notes.jsonl"
    path.write_text(path.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    add_note(run.folder, SECOND)
    assert read_notes(run.folder) == (FIRST, SECOND)


def test_what_is_no_run_gets_no_note(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run and no blend"):
        add_note(tmp_path, FIRST)
    with pytest.raises(RunError, match="is no run and no blend"):
        read_notes(tmp_path)
    assert list(tmp_path.iterdir()) == []


NOTING = """
import sys
from pathlib import Path
from chajong.experiments.notes import Note, add_note
for number in range(int(sys.argv[2])):
    add_note(Path(sys.argv[1]), Note("2026-01-03", f"{sys.argv[3]}-{number:04} {'x' * 5000}"))
    print(number, flush=True)
"""


def test_a_process_killed_while_it_notes_loses_nothing(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    add_note(run.folder, FIRST)
    command = [sys.executable, "-c", NOTING, str(run.folder), "10000", "a"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(5)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    notes = read_notes(run.folder)
    assert notes[0] == FIRST
    assert [note.text[:6] for note in notes[1:]] == [f"a-{k:04}" for k in range(len(notes) - 1)]
    assert len(notes) - 1 >= len(said)
    add_note(run.folder, SECOND)
    assert read_notes(run.folder) == (*notes, SECOND)
    assert list(run.folder.glob("*.tmp")) + list(run.folder.glob(".notes.jsonl*")) == []


def test_two_processes_that_note_at_once(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    commands = [[sys.executable, "-c", NOTING, str(run.folder), "15", name] for name in ("a", "b")]
    processes = [subprocess.Popen(each, stdout=subprocess.DEVNULL) for each in commands]
    assert [process.wait() for process in processes] == [0, 0]
    found = [note.text[:6] for note in read_notes(run.folder)]
    assert sorted(found) == [f"{name}-{k:04}" for name in ("a", "b") for k in range(15)]


def test_what_would_steer_a_terminal_does_not() -> None:
    line = Note("2026-01-01", "\033[31mred\033]0;title\007 쏘나타").line()
    assert line == "2026-01-01  �[31mred�]0;title� 쏘나타"


@pytest.mark.parametrize("damage", ['"text": "", "board": null', '"when": "31.01.2026"'])
def test_a_note_that_cannot_be_is_named_with_its_file(tmp_path: Path, damage: str) -> None:
    run = started(tmp_path / "run")
    whole = {"when": "2026-01-01", "text": "fine", **json.loads(f"{{{damage}}}")}
    (run.folder / "notes.jsonl").write_text(json.dumps(whole))
    with pytest.raises(RunError, match=r"notes\.jsonl is damaged: A note (needs|must say when)"):
        read_notes(run.folder)
