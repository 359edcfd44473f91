import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import chajong
from chajong.errors import DataError, ResourceError, SubmissionError
from chajong.labels import known_names
from chajong.predictions import Predictions
from chajong.score import score
from chajong.submission import (
    make_submission,
    read_submission,
    validate_submission,
    write_submission,
)

MADE_UP = tuple(f"Maker-{i // 10:02}_Model_{i:03}_2012" for i in range(196))
SMALL = ("K5", "그랜저", "쏘나타")


def made(
    classes: tuple[str, ...], num_photos: int = 50, sharpness: float = 8.0
) -> tuple[Predictions, dict[str, str]]:
    generator = np.random.default_rng(len(classes))
    truth = generator.integers(len(classes), size=num_photos)
    logits = generator.normal(size=(num_photos, 2, len(classes))) * sharpness
    logits -= logits.max(axis=2, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    ids = tuple(f"TEST_{i:05}" for i in range(num_photos))
    predictions = Predictions(
        ids=ids,
        statuses=("ok",) * num_photos,
        classes=classes,
        views=("plain", "flip"),
        log_probs=logs.astype(np.float32),
        kind="test",
        run="run",
    )
    return predictions, {id_: classes[i] for id_, i in zip(ids, truth, strict=True)}


def without(predictions: Predictions, *ids: str) -> Predictions:
    """The same predictions, with these photos unreadable."""
    logs = predictions.log_probs.copy()
    statuses = list(predictions.statuses)
    for id_ in ids:
        logs[predictions.ids.index(id_)] = np.nan
        statuses[predictions.ids.index(id_)] = "unreadable: empty"
    return replace(predictions, statuses=tuple(statuses), log_probs=logs)


def sampled(folder: Path, classes: tuple[str, ...], ids: tuple[str, ...], name: str = "ID") -> Path:
    path = folder / "sample_submission.csv"
    lines = [",".join((name, *classes)), *(",".join((id_, *"0" * len(classes))) for id_ in ids)]
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig", newline="")
    return path


@pytest.mark.parametrize("classes", [MADE_UP, known_names()], ids=["196", "396"])
@pytest.mark.parametrize("sharpness", [1.0, 40.0])  # 40: the truth is often beyond 1e-15
def test_the_file_read_back_scores_as_evaluate_says(
    tmp_path: Path, classes: tuple[str, ...], sharpness: float
) -> None:
    predictions, truth = made(classes, sharpness=sharpness)
    sample = sampled(tmp_path, classes, predictions.ids[::-1])
    write_submission(make_submission(predictions, sample), tmp_path / "submission.csv")
    validate_submission(tmp_path / "submission.csv", sample)
    expected, got = (
        score(predictions, truth),
        score(read_submission(tmp_path / "submission.csv"), truth),
    )
    assert got.log_loss.value == pytest.approx(expected.log_loss.value, abs=1e-6)
    assert got.top1.value == expected.top1.value
    assert got.ece.value == pytest.approx(expected.ece.value, abs=1e-6)


def test_the_fallback_scores_as_evaluate_says(tmp_path: Path) -> None:
    predictions, truth = made(known_names())
    predictions = without(predictions, "TEST_00003", "TEST_00011")
    sample = sampled(tmp_path, known_names(), predictions.ids)
    submission = make_submission(predictions, sample, unreadable="uniform")
    assert submission.notes == ("2 photo(s) without a prediction got a uniform guess",)
    row = submission.table.row(3)
    assert row == ("TEST_00003", *[1 / 396] * 396)
    write_submission(submission, tmp_path / "submission.csv")
    got = score(read_submission(tmp_path / "submission.csv"), truth)
    expected = score(predictions, truth, unreadable="uniform")
    assert got.log_loss.value == pytest.approx(expected.log_loss.value, abs=1e-6)


def test_the_file_has_the_shape_of_the_sample(tmp_path: Path) -> None:
    predictions, _ = made(SMALL, 3)
    order = ("쏘나타", "K5", "그랜저")
    names = tuple(unicodedata.normalize("NFD", name) for name in order)
    ids = ("TEST_00002", "TEST_00000", "TEST_00001")
    sample = sampled(tmp_path, names, ids, name="번호")
    write_submission(make_submission(predictions, sample), tmp_path / "out" / "submission.csv")
    raw = (tmp_path / "out" / "submission.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert raw.decode("utf-8-sig").splitlines()[0] == ",".join(("번호", *names))
    table = pl.read_csv(raw)
    assert tuple(table["번호"]) == ids
    expected = predictions.probabilities()[[2, 0, 1]][:, [2, 0, 1]]
    np.testing.assert_allclose(table.drop("번호").to_numpy(), expected, rtol=1e-12, atol=1e-15)
    back = read_submission(tmp_path / "out" / "submission.csv")
    assert back.classes == SMALL
    np.testing.assert_allclose(
        back.probabilities()[[1, 2, 0]], predictions.probabilities(), atol=1e-7
    )


def test_numbers_are_written_exactly(tmp_path: Path) -> None:
    predictions, _ = made(MADE_UP, 20)
    submission = make_submission(predictions, sampled(tmp_path, MADE_UP, predictions.ids))
    write_submission(submission, tmp_path / "submission.csv")
    table = pl.read_csv(tmp_path / "submission.csv")
    np.testing.assert_array_equal(table[:, 1:].to_numpy(), submission.table[:, 1:].to_numpy())


def test_nothing_is_zero_and_rows_sum_to_one(tmp_path: Path) -> None:
    predictions, _ = made(MADE_UP, sharpness=300)
    assert (predictions.probabilities() == 0).any()
    sample = sampled(tmp_path, MADE_UP, predictions.ids)
    for floor in (1e-20, 1e-6, 1e-3):
        probs = make_submission(predictions, sample, floor).table[:, 1:].to_numpy()
        assert probs.min() == pytest.approx(floor / (1 + 195 * floor), rel=0.1)
        np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("floor", [0, -1e-9, 1e-21, 0.1, float("nan")])
def test_floors_out_of_range_are_refused(tmp_path: Path, floor: float) -> None:
    predictions, _ = made(SMALL, 3)
    sample = sampled(tmp_path, SMALL, predictions.ids)
    with pytest.raises(SubmissionError, match=r"^floor must be 1e-20 to 0\.001; got"):
        make_submission(predictions, sample, floor)
    with pytest.raises(SubmissionError, match=r"^floor_unseen must be 1e-20 to 0\.1; got"):
        make_submission(predictions, sample, floor_unseen=floor * 2)


def test_classes_never_seen_need_a_floor_agreed_to(tmp_path: Path) -> None:
    predictions, truth = made(SMALL, 5)
    columns = ("A6", *SMALL, "X5")
    sample = sampled(tmp_path, columns, predictions.ids)
    with pytest.raises(SubmissionError, match=r"2 of the 5 classes .* never seen .*: 'A6', 'X5'"):
        make_submission(predictions, sample)
    submission = make_submission(predictions, sample, floor_unseen=0.01)
    assert submission.notes == ("2 class(es) that the model never saw got 0.01 each: 'A6', 'X5'",)
    probs = submission.table[:, 1:].to_numpy()
    np.testing.assert_allclose(probs[:, [0, 4]], 0.01 / 1.02)
    np.testing.assert_allclose(probs[:, 1:4], predictions.probabilities() / 1.02, atol=1e-12)
    write_submission(submission, tmp_path / "submission.csv")
    unseen = score(read_submission(tmp_path / "submission.csv"), truth | {"TEST_00001": "X5"})
    assert unseen.log_loss.value < 34.5 / 5 + 30 / 5  # zeros would cost 34.5 for this photo alone


def test_a_sample_that_asks_for_classes_is_told_where_they_are(tmp_path: Path) -> None:
    predictions, _ = made(SMALL, 3)
    sample = sampled(tmp_path, ("label",), predictions.ids)
    with pytest.raises(SubmissionError, match=r"in a column 'label'\. .* --out answers\.csv$"):
        make_submission(predictions, sample)


def test_classes_unknown_to_the_sample_are_refused(tmp_path: Path) -> None:
    predictions, _ = made(SMALL, 3)
    sample = sampled(tmp_path, ("K5", "그랜져", "쏘나타"), predictions.ids)
    with pytest.raises(SubmissionError, match=r"1 of the 3 .*'그랜저' \(did you mean '그랜져'"):
        make_submission(predictions, sample, floor_unseen=0.01)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (("TEST_00000", "TEST_00001"), r"1 id\(s\) not asked for: 'TEST_00002'"),
        (
            tuple(f"TEST_{i:05}" for i in range(10)),
            r"7 id\(s\) without a prediction: 'TEST_00003', .* and 2 more",
        ),
        (("TEST_00000", "TEST_00001", "TEST_00001"), "each id .* 1 are repeated: 'TEST_00001'"),
        ((), "header but no rows"),
    ],
)
def test_ids_that_do_not_match_are_refused(
    tmp_path: Path, ids: tuple[str, ...], message: str
) -> None:
    predictions, _ = made(SMALL, 3)
    with pytest.raises(SubmissionError, match=message):
        make_submission(predictions, sampled(tmp_path, SMALL, ids))


def test_columns_that_repeat_are_refused(tmp_path: Path) -> None:
    predictions, _ = made(SMALL, 3)
    twins = ("가", unicodedata.normalize("NFD", "가"))
    with pytest.raises(SubmissionError, match="each class must be there once"):
        make_submission(predictions, sampled(tmp_path, twins, predictions.ids))
    with pytest.raises(DataError, match="'K5'"):
        make_submission(predictions, sampled(tmp_path, ("K5", "K5"), predictions.ids))
    with pytest.raises(SubmissionError, match="class number 2 has no name"):
        make_submission(predictions, sampled(tmp_path, ("K5", " "), predictions.ids))
    with pytest.raises(SubmissionError, match="one column, 'ID'"):
        make_submission(predictions, sampled(tmp_path, (), predictions.ids))


@pytest.mark.parametrize("pattern", ["{}.jpg", "test/{}.JPG", "./test/{}.png"])
def test_photos_of_a_folder_are_matched_by_stem(tmp_path: Path, pattern: str) -> None:
    predictions, _ = made(SMALL, 3)
    of_files = replace(predictions, ids=tuple(pattern.format(id_) for id_ in predictions.ids))
    sample = sampled(tmp_path, SMALL, predictions.ids[::-1])
    submission = make_submission(of_files, sample)
    assert submission.table.equals(make_submission(predictions, sample).table)
    assert "matched by file name" in submission.notes[0]


def test_unreadable_photos_need_a_fallback(tmp_path: Path) -> None:
    predictions, _ = made(SMALL, 3)
    predictions = without(predictions, "TEST_00001")
    sample = sampled(tmp_path, SMALL, predictions.ids)
    with pytest.raises(SubmissionError, match=r"1 of 3 .*'TEST_00001 \(unreadable: empty\)'"):
        make_submission(predictions, sample)
    with pytest.raises(SubmissionError, match=r"must be one of 'refuse', 'uniform'\. Got 'zero'"):
        make_submission(predictions, sample, unreadable="zero")  # type: ignore[arg-type]


def test_a_place_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    predictions, _ = made(SMALL, 3)
    submission = make_submission(predictions, sampled(tmp_path, SMALL, predictions.ids))
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="a file stands where a folder is needed"):
        write_submission(submission, tmp_path / "file" / "submission.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "sample_submission.csv"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b,0,0.5,0.5", r"1 row\(s\) have zeros, which cost 34.5 .*: 'b'"),
        ("b,nan,0.5,0.5", "numbers that are not finite: 'b'"),
        ("b,inf,0.5,0.5", "not finite"),
        ("b,-0.1,0.6,0.5", "below 0 or above 1"),
        ("b,1.5,0.1,0.1", "below 0 or above 1"),
        ("b,0.3,0.3,0.3", "do not sum to 1: 'b'"),
        ("a,0.2,0.3,0.5", "each id .* repeated: 'a'"),
        ("b,0.5,0.5", "empty cell"),
        (",0.2,0.3,0.5", "'ID' has 1 empty cell"),
        (",0.2,0.3,0.5\nc,,,", "'ID' has 1 empty cell"),
        ("b,,,", "'K5' has 1 empty cell"),
        ("b,x,0.5,0.5", "could not parse `x`"),
    ],
)
def test_numbers_that_cannot_be_scored_are_refused(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "submission.csv"
    path.write_text(f"ID,K5,그랜저,쏘나타\na,0.2,0.3,0.5\n{row}\n", encoding="utf-8")
    with pytest.raises((SubmissionError, DataError), match=message):
        read_submission(path)
    sample = sampled(tmp_path, SMALL, ("a", "b"))
    with pytest.raises((SubmissionError, DataError)):
        validate_submission(path, sample)


@pytest.mark.parametrize(
    ("columns", "ids", "message"),
    [
        (SMALL, ("b", "a"), "ids of .* number 1 is 'b' instead of 'a'"),
        (SMALL[::-1], ("a", "b"), "columns of .* number 2 is '쏘나타' instead of 'K5'"),
        (SMALL[:2], ("a", "b"), "has 3 columns, but .* has 4"),
        (SMALL, ("a",), "has 1 ids, but .* has 2"),
    ],
)
def test_the_validator_wants_the_sample_to_the_letter(
    tmp_path: Path, columns: tuple[str, ...], ids: tuple[str, ...], message: str
) -> None:
    path = sampled(tmp_path, columns, ids).rename(tmp_path / "submission.csv")
    with pytest.raises(SubmissionError, match=message):
        validate_submission(path, sampled(tmp_path, SMALL, ("a", "b")))


@pytest.mark.parametrize("name", ["sample.csv", "predictions.parquet"])
def test_what_is_read_is_not_written_over(name: str, tmp_path: Path) -> None:
    for given in ("sample.csv", "predictions.parquet"):
        (tmp_path / given).write_text("theirs")
    with pytest.raises(SubmissionError, match="is given to be read"):
        chajong.submit(tmp_path / "predictions.parquet", tmp_path / "sample.csv", tmp_path / name)
    assert (tmp_path / "sample.csv").read_text() == "theirs"
    assert (tmp_path / "predictions.parquet").read_text() == "theirs"
