"""A prediction that was stopped or killed goes on, with answers to the same question only."""

import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from chajong.bundle import Bundle
from chajong.files import fingerprint
from chajong.photos.sources import Asked, Source, open_source
from chajong.predictions import Predictions
from chajong.progress import Interrupted
from chajong.serving import predict as module
from chajong.serving.answers import Parts, verdict_table
from chajong.serving.engine import Engine
from chajong.serving.predict import predict
from tests.serving.asking import asked


def until(source: Source, limit: int) -> Source:
    """The same photos, but the user presses Ctrl-C behind some of them."""

    def photos() -> Iterator[Asked]:
        for place, one in enumerate(source.photos()):
            if place == limit:
                raise KeyboardInterrupt
            yield one

    return Source(None, photos)


def test_parts_of_another_risk_are_not_taken(
    engine: Engine, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NUM_IN_PART", 8)
    source, out = open_source(str(few)), tmp_path / "out.parquet"

    with pytest.raises(Interrupted):
        predict(engine, until(source, 20), out, 1e-6)
    predict(engine, source, out, 0.99)
    assert set(pl.read_parquet(out)["level"].drop_nulls()) == {"exact"}


def test_a_stopped_prediction_goes_on(
    engine: Engine, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NUM_IN_PART", 8)
    source, out = open_source(str(few)), tmp_path / "out.parquet"
    whole = asked(engine, few, tmp_path / "whole.parquet")
    read: list[str] = []

    def noted(one: Asked) -> Asked:
        def read_it() -> bytes:
            read.append(one.id)
            return one.read()

        return Asked(one.id, read_it, one.stamp)

    heard = Source(None, lambda: map(noted, source.photos()))
    with pytest.raises(Interrupted, match="stopped after 16 photos; the same command goes on"):
        predict(engine, until(heard, 20), out)
    assert not out.exists()
    assert set(whole.ids[:16]) <= set(read)
    read.clear()
    predict(engine, heard, out)
    assert sorted(read) == sorted(whole.ids[16:])
    found = Predictions.load(out)
    assert (found.ids, found.statuses) == (whole.ids, whole.statuses)
    np.testing.assert_array_equal(found.log_probs, whole.log_probs)


def test_parts_of_another_question_are_not_taken(
    engine: Engine, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NUM_IN_PART", 8)
    out = tmp_path / "out.parquet"
    whole = asked(engine, few, tmp_path / "whole.parquet")
    wrong = np.log(np.full((8, 1, 3), 1 / 3, np.float32))
    said = Predictions(whole.ids[:8], ("ok",) * 8, whole.classes, ("bundle",), wrong, "test", "")
    first = list(open_source(str(few)).photos())[:8]
    with Parts.open(out, "something else") as parts:
        mark = fingerprint([(one.id, one.stamp()) for one in first])
        parts.keep(0, mark, said, verdict_table([None] * 8))
    np.testing.assert_array_equal(asked(engine, few, out).log_probs, whole.log_probs)


def test_other_photos_of_the_same_names_get_answers_of_their_own(
    engine: Engine, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NUM_IN_PART", 2)
    some = sorted((few / "좋은").iterdir())
    days = [tmp_path / "inbox", tmp_path / "tuesday", tmp_path / "tuesday.zip"]
    for day, chosen in zip(days[:2], (some[:4], some[-4:]), strict=True):
        day.mkdir()
        for place, path in enumerate(chosen):
            shutil.copyfile(path, day / f"{place}.jpg")
    with zipfile.ZipFile(days[2], "w") as archive:
        for path in sorted(days[1].iterdir()):
            archive.write(path, path.name)
    whole = asked(engine, days[1], tmp_path / "whole.parquet")

    def stopped(out: Path) -> None:
        with pytest.raises(Interrupted):
            predict(engine, until(open_source(str(days[0])), 3), out)

    for number, day in enumerate(days[1:]):
        out = tmp_path / f"{number}.parquet"
        stopped(out)
        np.testing.assert_array_equal(asked(engine, day, out).log_probs, whole.log_probs)
    # The next day's photos in the same place, too.
    stopped(tmp_path / "2.parquet")
    for path in days[1].iterdir():
        shutil.copyfile(path, days[0] / path.name)
    found = asked(engine, days[0], tmp_path / "2.parquet")
    np.testing.assert_array_equal(found.log_probs, whole.log_probs)


def test_killed_and_called_again(exported: Bundle, photos: Path, tmp_path: Path) -> None:
    many = tmp_path / "many.csv"
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    paths = sorted(path.relative_to(tmp_path).as_posix() for path in folder.rglob("*.jpg"))
    rows = [(f"{turn}-{path}", path) for turn in range(8) for path in paths]
    pl.DataFrame(rows, schema=["ID", "path"], orient="row").write_csv(many)
    out = tmp_path / "out.parquet"
    words = ("predict", exported.folder, many, "--out", out)
    command = [sys.executable, "-m", "chajong", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (tmp_path / ".out.parquet.parts" / "000000.parquet").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    first, second = done.stdout.splitlines()
    assert (done.returncode, first) == (0, f"{out}: 4,080 rows, 0 without a prediction")
    assert second.startswith("answered at a risk of 0.02: exact ")
    found = Predictions.load(out)
    assert list(found.ids) == [id_ for id_, _ in rows]
    np.testing.assert_allclose(found.log_probs[:510], found.log_probs[-510:], atol=1e-5)
