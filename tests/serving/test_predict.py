"""Photos from anywhere to answers in any form: a row and a truthful status for each."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from threadpoolctl import threadpool_limits

import chajong
from chajong.errors import BundleError, ChajongError, DataError
from chajong.photos.decode import Unreadable
from chajong.photos.preprocess import Squares
from chajong.photos.reading import read_file
from chajong.photos.sources import Source, open_source
from chajong.predictions import Predictions
from chajong.run import Run
from chajong.serving.answers import VERDICT_COLUMNS, verdict_table
from chajong.serving.engine import Engine, Looked
from chajong.serving.judge import Judge
from chajong.serving.predict import predict
from tests.serving.asking import asked
from tests.serving.running import blas_threads


def test_callers_do_not_share_out_their_products(
    engine: Engine, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, during = Engine.look, set[int]()

    def noted(self: Engine, squares: Sequence[Squares]) -> Looked:
        during.update(blas_threads())
        return look(self, squares)

    monkeypatch.setattr(Engine, "look", noted)
    with threadpool_limits(3, user_api="blas"):
        before = blas_threads()
        asked(engine, few, tmp_path / "out.parquet")
        assert during == {1} < before | {1}
        assert blas_threads() == before


def test_the_nearest_training_photos_are_named_on_request(
    engine: Engine, few: Path, tmp_path: Path
) -> None:
    gallery = engine.bundle.gallery
    assert gallery is not None
    source = open_source(str(few))
    for suffix in ("parquet", "csv", "jsonl"):
        predict(engine, source, tmp_path / f"out.{suffix}", num_nearest=2)
    # Brackets are no pattern here.
    predict(engine, source, tmp_path / "out[1].csv", num_nearest=2)
    assert (tmp_path / "out[1].csv").read_bytes() == (tmp_path / "out.csv").read_bytes()
    table = pl.read_parquet(tmp_path / "out.parquet")
    listed = pl.read_csv(tmp_path / "out.csv")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for place, (id_, status, found) in enumerate(table["id", "status", "nearest"].iter_rows()):
        assert lines[place]["nearest"] == found
        if status != "ok":
            assert found is listed["nearest"][place] is None
            continue
        assert json.loads(listed["nearest"][place]) == found
        looked = engine.look([engine.prepare((few / id_).read_bytes())])
        assert looked.embeddings is not None
        wanted = gallery.nearest(looked.embeddings[0], 2)
        assert [(one["photo"], one["class"]) for one in found] == [
            (one.photo, one.name) for one in wanted
        ]
        assert found[0]["similarity"] == pytest.approx(wanted[0].similarity, abs=1e-4)
    with pytest.raises(DataError, match="0 to 50 of the nearest photos can be named, not -1"):
        predict(engine, source, tmp_path / "no.csv", num_nearest=-1)
    bundle = engine.bundle.folder
    told = chajong.verdicts(bundle, few, nearest=2, runtime="onnxruntime", precision="fp32")
    assert_frame_equal(told["id", "nearest"], table["id", "nearest"])
    assert "nearest" not in chajong.verdicts(bundle, few, precision="fp32").columns
    assert Predictions.load(tmp_path / "out.parquet").ids == tuple(table["id"])


def test_a_bundle_without_training_photos_names_none(
    engine: Engine, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine.bundle.__dict__, "gallery", None)
    with pytest.raises(BundleError, match="keeps no training photos"):
        predict(engine, open_source(str(few)), tmp_path / "out.csv", num_nearest=1)
    assert not (tmp_path / "out.csv").exists()


def test_each_photo_gets_its_own_row(engine: Engine, few: Path, tmp_path: Path) -> None:
    found = asked(engine, few, tmp_path / "out.parquet")
    files = (path.relative_to(few).as_posix() for path in few.rglob("*") if path.is_file())
    assert list(found.ids) == sorted(files)
    for id_, status, row in zip(found.ids, found.statuses, found.log_probs[:, 0], strict=True):
        if "/" not in id_:
            assert status.startswith("unreadable: ")
            assert np.isnan(row).all()
        else:
            alone = engine.answer([engine.prepare((few / id_).read_bytes())])
            assert status == "ok"
            np.testing.assert_allclose(row, alone[0], atol=1e-5)
    assert list(tmp_path.glob(".*")) == []  # the parts are gone


def test_all_ways_to_name_photos_give_the_same(
    engine: Engine, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = asked(engine, few, tmp_path / "folder.parquet")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(few.rglob("*")):
            archive.write(path, path.relative_to(few).as_posix())
        archive.writestr("__MACOSX/._cut.jpg", "rubbish")
    pl.DataFrame({"path": whole.ids}).write_csv(few / "list.csv")
    listed = "".join(f"{few / id_}\n" for id_ in whole.ids)
    with (tmp_path / "list.txt").open("w+", encoding="utf-8") as file:
        file.write(listed)
        file.seek(0)
        monkeypatch.setattr(sys, "stdin", file)
        piped = asked(engine, "-", tmp_path / "piped.parquet")
    assert [id_.removeprefix(f"{few}/") for id_ in piped.ids] == list(whole.ids)
    same = [
        asked(engine, tmp_path / "photos.zip", tmp_path / "zip.parquet"),
        asked(engine, few / "list.csv", tmp_path / "table.parquet"),
        piped,
    ]
    for found in same:
        assert found.statuses == whole.statuses
        np.testing.assert_array_equal(found.log_probs, whole.log_probs)
    pattern = asked(engine, few / "**" / "*.jpg", tmp_path / "pattern.parquet")
    assert list(pattern.ids) == [id_ for id_ in whole.ids if id_.endswith(".jpg")]
    alone = asked(engine, few / whole.ids[-1], tmp_path / "alone.parquet")
    np.testing.assert_allclose(alone.log_probs[0], whole.log_probs[-1], atol=1e-5)


def test_all_forms_say_the_same(engine: Engine, few: Path, tmp_path: Path) -> None:
    found = asked(engine, few, tmp_path / "out.parquet")
    for suffix in ("csv", "jsonl"):
        predict(engine, open_source(str(few)), tmp_path / f"out.{suffix}")
    parquet = pl.read_parquet(tmp_path / "out.parquet")
    table = pl.read_csv(tmp_path / "out.csv")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for name in ("id", "status", "top"):
        assert table[name].to_list() == parquet[name].to_list() == [row[name] for row in rows]
    probs = found.probabilities()
    for row, known, ok in zip(rows, probs, found.ok, strict=True):
        told = [one["prob"] for one in row["top5"]]
        np.testing.assert_allclose(told, np.sort(known)[::-1] if ok else [], rtol=1e-5)
    assert table["top2_prob"].null_count() == int((~found.ok).sum())
    for name in VERDICT_COLUMNS:
        told = [row[name] for row in rows]
        if VERDICT_COLUMNS[name] == pl.Float64:
            known = parquet[name].to_numpy()
            np.testing.assert_allclose(np.array(told, float), known, rtol=1e-5)
            np.testing.assert_allclose(table[name].cast(pl.Float64).to_numpy(), known, rtol=1e-5)
        else:
            assert (
                told == parquet[name].to_list() == table[name].cast(parquet.schema[name]).to_list()
            )


def test_answers_for_people_are_not_scored(engine: Engine, few: Path, tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text("ID,a,b\n1,0.5,0.5\n")
    for name in ("answers.csv", "answers.jsonl"):
        predict(engine, open_source(str(few)), out := tmp_path / name)
        with pytest.raises(ChajongError, match=r"likeliest classes only.*predictions\.parquet"):
            chajong.evaluate(out, {})
        with pytest.raises(ChajongError, match=r"likeliest classes only.*predictions\.parquet"):
            chajong.submit(out, tmp_path / "sample.csv", tmp_path / "submission.csv")


def test_answers_say_as_much_as_the_risk_allows(engine: Engine, few: Path, tmp_path: Path) -> None:
    rows = {}
    for risk in (1e-6, 0.99):
        out = tmp_path / f"{risk}.parquet"
        tally = predict(engine, open_source(str(few)), out, risk)
        found = pl.read_parquet(out)
        rows[risk] = found
        assert tally.risk == risk
        levels = found["level"].drop_nulls().to_list()
        assert {name: levels.count(name) for name in tally.levels} == tally.levels
        assert list(tally.lines())[1].startswith(f"answered at a risk of {risk:g}: exact ")
        # A photo without an answer has no level; all others have one.
        assert found["level"].is_null().to_list() == (found["status"] != "ok").to_list()
        assert Predictions.load(out).ids == tuple(found["id"])
        judge = Judge.of(engine.bundle, risk)
        told = Predictions.load(out).log_probs[-5:, 0], found["strangeness"][-5:].to_numpy()
        wanted = verdict_table(judge.verdicts(*told))
        assert_frame_equal(found.select(VERDICT_COLUMNS.names())[-5:], wanted)
    assert set(rows[1e-6]["level"].drop_nulls()) == {"none"}
    assert set(rows[0.99]["level"].drop_nulls()) == {"exact"}
    answered = rows[0.99].filter(pl.col("status") == "ok")
    assert answered["exact"].to_list() == answered["top"].to_list()
    assert rows[1e-6]["exact"].null_count() == rows[1e-6].height


def test_a_bundle_that_knows_of_no_risk(engine: Engine, few: Path, tmp_path: Path) -> None:
    blind = replace(engine, bundle=replace(engine.bundle, risks=None))
    with pytest.raises(BundleError, match="Leave the risk out"):
        predict(blind, open_source(str(few)), tmp_path / "out.csv", 0.02)
    assert list(tmp_path.iterdir()) == [few]
    tally = predict(blind, open_source(str(few)), tmp_path / "out.csv")
    assert list(tally.lines())[1].startswith("nothing is known of the risk")
    table = pl.read_csv(tmp_path / "out.csv")
    assert set(table["level"].drop_nulls()) == {"exact"}


def test_only_a_bundle_keeps_a_risk(run: Run, few: Path) -> None:
    words = ("predict", run.folder, few, "--risk", "0.02")
    command = [sys.executable, "-m", "chajong", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--risk needs a bundle" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("name", "said"),
    [("nowhere", "There is nothing at"), ("*.gif", "There are no photos in"), ("", "no photos in")],
)
def test_nothing_to_answer(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        open_source(str(tmp_path / name))


def test_a_photo_that_is_listed_twice(engine: Engine, few: Path, tmp_path: Path) -> None:
    source = open_source(str(few))
    twice = Source(None, lambda: iter([*source.photos(), next(source.photos())]))
    with pytest.raises(DataError, match=r"cut\.jpg is listed twice"):
        predict(engine, twice, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_an_unknown_form_is_refused_before_any_work(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must end in one of '\.parquet', '\.csv', '\.jsonl'"):
        predict(engine, Source(None, lambda: iter(())), tmp_path / "out.xlsx")


@pytest.mark.parametrize("name", ["test.csv", "oof.parquet", "notes.jsonl"])
def test_only_answers_give_way_to_answers(
    name: str, engine: Engine, run: Run, few: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    if name == "oof.parquet":
        path.write_bytes(run.predictions_path.read_bytes())
    else:
        path.write_text("ID,img_path\nTEST_1,./test/TEST_1.jpg\n")
    before = path.read_bytes()
    with pytest.raises(DataError, match="is there and holds no answers"):
        asked(engine, few, path)
    assert path.read_bytes() == before
    path.unlink()
    for _ in range(2):  # the second in the place of the first
        predict(engine, open_source(str(few)), path)


def test_zips_of_other_machines(tmp_path: Path, few: Path) -> None:
    photo = next((few / "좋은").iterdir()).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/one.jpg", photo, zipfile.ZIP_DEFLATED)
        archive.writestr("x/two.jpg", photo, zipfile.ZIP_DEFLATED)
    data = (tmp_path / "a.zip").read_bytes()
    # Korean Windows packs names without the flag of UTF-8.
    (tmp_path / "b.zip").write_bytes(data.replace(b"one.jpg", "차a.jpg".encode("cp949")))
    assert [one.id for one in open_source(str(tmp_path / "b.zip")).photos()] == [
        "x/two.jpg",
        "x/차a.jpg",
    ]
    # A packer that sets the flag and writes another code page.
    flagged = bytearray((tmp_path / "b.zip").read_bytes())
    for start in (b"PK\1\2", b"PK\3\4"):
        place = flagged.index(start) + (8 if start.endswith(b"\1\2") else 6)
        flagged[place + 1] |= 8
    (tmp_path / "c.zip").write_bytes(flagged)
    with pytest.raises(DataError, match="cannot be opened as a zip: 'utf-8' codec"):
        open_source(str(tmp_path / "c.zip"))
    (tmp_path / "d.zip").write_bytes(data[:100])
    with pytest.raises(DataError, match="cannot be opened as a zip"):
        open_source(str(tmp_path / "d.zip"))


def test_a_zip_whose_names_were_read_from_an_extra_field(
    tmp_path: Path, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As newer versions of Python do: the flag of UTF-8 stays off.
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(next((few / "좋은").iterdir()), "one.jpg")
    known = zipfile.ZipFile.infolist

    def renamed(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
        for info in known(archive):
            info.filename = "차.jpg"
        return known(archive)

    monkeypatch.setattr(zipfile.ZipFile, "infolist", renamed)
    assert [one.id for one in open_source(str(tmp_path / "a.zip")).photos()] == ["차.jpg"]


def test_a_pattern_that_is_none_and_a_name_that_no_file_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no pattern: .*write \*\*/ by itself"):
        open_source(f"{tmp_path}/**.jpg")
    with pytest.raises(Unreadable, match="no file can have such a name"):
        read_file(Path("a\0b.jpg"))


def test_paths_with_zero_bytes_between_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"a/1.jpg\0a/2.jpg\0")))
    with pytest.raises(DataError, match=r"zero byte: .*find without -print0"):
        list(open_source("-").photos())


def test_a_damaged_member_of_a_zip_is_one_bad_row(
    engine: Engine, few: Path, tmp_path: Path
) -> None:
    photos = sorted((few / "좋은").iterdir())[:2]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in photos:
            archive.write(path, path.name)
    data = (tmp_path / "a.zip").read_bytes()
    middle = data.index(photos[1].read_bytes()) + 200
    changed = bytes(255 - byte for byte in data[middle : middle + 9])
    (tmp_path / "a.zip").write_bytes(data[:middle] + changed + data[middle + 9 :])
    found = asked(engine, tmp_path / "a.zip", tmp_path / "out.parquet")
    assert found.statuses[0] == "ok"
    assert found.statuses[1].startswith("unreadable: could not be unpacked: Bad CRC-32")


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_LZMA])
def test_a_member_of_a_zip_that_ends_early_or_was_packed_wrongly_is_one_bad_row(
    packed: int, few: Path, tmp_path: Path
) -> None:
    one, other = sorted((few / "좋은").iterdir())[:2]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", packed) as archive:
        archive.write(one, "1.jpg")
        archive.write(other, "2.jpg")
        second = archive.getinfo("2.jpg")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    if packed == zipfile.ZIP_LZMA:
        start = second.header_offset + 30 + len("2.jpg") + 9  # behind both headers
        data[start : start + 40] = bytes(255 - byte for byte in data[start : start + 40])
    else:
        place = data.rindex(b"PK\x01\x02")  # what the list says of the last one: how long it is
        for at in (20, 24):
            data[place + at : place + at + 4] = (10**6).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data)
    first, last = open_source(str(tmp_path / "a.zip")).photos()
    assert first.read() == one.read_bytes()
    with pytest.raises(Unreadable, match="could not be unpacked"):
        last.read()
