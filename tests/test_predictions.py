import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from chajong.errors import PredictionsError
from chajong.labels import known_names
from chajong.predictions import Predictions

CLASSES = ("K5_2020", "그랜저_IG_2017_2019", "쏘나타_DN8_2019_2023")


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    sums = np.exp(shifted).sum(axis=-1, keepdims=True)
    logs: NDArray[np.float32] = (shifted - np.log(sums)).astype(np.float32)
    return logs


def made(
    ids: tuple[str, ...] = ("a", "b", "c"),
    bad: tuple[str, ...] = (),
    classes: tuple[str, ...] = CLASSES,
    seed: int = 0,
    **changes: Any,
) -> Predictions:
    generator = np.random.default_rng(seed)
    logs = log_softmax(generator.normal(size=(len(ids), 2, len(classes))) * 5)
    statuses = tuple("unreadable: truncated JPEG" if id_ in bad else "ok" for id_ in ids)
    logs[[id_ in bad for id_ in ids]] = np.nan
    whole = Predictions(ids, statuses, classes, ("plain", "flip"), logs, "oof", "run-1")
    return replace(whole, **changes)


def same(one: Predictions, other: Predictions) -> bool:
    fields = ("ids", "statuses", "classes", "views", "kind", "run", "labels", "folds")
    return all(getattr(one, name) == getattr(other, name) for name in fields) and np.array_equal(
        one.log_probs, other.log_probs, equal_nan=True
    )


def test_probabilities_are_the_geometric_mean_of_the_views() -> None:
    predictions = made(bad=("b",))
    expected = np.exp(predictions.log_probs.astype(np.float64)).prod(axis=1) ** 0.5
    expected /= expected.sum(axis=1, keepdims=True)
    probs = predictions.probabilities()
    np.testing.assert_allclose(probs, expected, atol=1e-6)
    np.testing.assert_allclose(probs[[0, 2]].sum(axis=1), 1, atol=1e-15)
    assert np.isnan(probs[1]).all()
    assert predictions.ok.tolist() == [True, False, True]


def test_probabilities_come_in_the_order_asked() -> None:
    predictions = made()
    found = np.exp(predictions.log_probs_of(["c", "a"]))
    np.testing.assert_array_equal(found, predictions.probabilities()[[2, 0]])
    with pytest.raises(PredictionsError, match=r"^1 of 2 photos are not in the table.*: 'x'\."):
        predictions.log_probs_of(["a", "x"])


def test_probabilities_keep_what_is_tiny() -> None:
    logs = np.array([[[0, -600, -700]]], dtype=np.float32)
    probs = made(("a",), log_probs=logs, views=("plain",)).probabilities()
    np.testing.assert_allclose(np.log(probs[0]), [0, -600, -700])


def test_saved_predictions_come_back(tmp_path: Path) -> None:
    for predictions in (
        made(bad=("b",)),
        made(labels=(CLASSES[2], None, CLASSES[0]), folds=(0, 1, 1)),
        made(tuple(f"사진/{i}.jpg" for i in range(50)), classes=known_names(), kind="test"),
        made(()),
    ):
        predictions.save(tmp_path / "predictions.parquet")
        assert same(Predictions.load(tmp_path / "predictions.parquet"), predictions)


def test_the_table_is_as_documented(tmp_path: Path) -> None:
    predictions = made(bad=("b",), labels=(CLASSES[2], None, CLASSES[0]), folds=(0, 1, 1))
    predictions.save(tmp_path / "p.parquet")
    table = pl.read_parquet(tmp_path / "p.parquet")
    assert table.schema == {
        "id": pl.String,
        "status": pl.String,
        "top": pl.String,
        "top_prob": pl.Float64,
        "label": pl.String,
        "fold": pl.Int64,
        "log_prob_plain": pl.Array(pl.Float32, 3),
        "log_prob_flip": pl.Array(pl.Float32, 3),
    }
    probs = predictions.probabilities()
    assert table["top"].to_list() == [CLASSES[probs[0].argmax()], None, CLASSES[probs[2].argmax()]]
    assert table["top_prob"].to_list() == [probs[0].max(), None, probs[2].max()]


def test_an_unreadable_photo_keeps_its_own_row(tmp_path: Path) -> None:
    whole, holed = made(tuple("abcdefgh")), made(tuple("abcdefgh"), bad=("c", "h"))
    holed.save(tmp_path / "p.parquet")
    loaded = Predictions.load(tmp_path / "p.parquet")
    for row, id_ in enumerate("abcdefgh"):
        if id_ in "ch":
            assert loaded.statuses[row] == "unreadable: truncated JPEG"
            assert np.isnan(loaded.log_probs[row]).all()
        else:
            np.testing.assert_array_equal(loaded.log_probs[row], whole.log_probs[row])


NAN_ROW = made().log_probs.copy()
NAN_ROW[1, 0, 2] = np.nan
LOGITS = made().log_probs + 3
NFD_TWIN = (unicodedata.normalize("NFD", "가"), "가", "나")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ("a", "b", "a")}, "Ids must be unique, but 1 are repeated: 'a'"),
        ({"ids": NFD_TWIN}, "Ids must be unique"),
        ({"statuses": ("ok", "ok")}, "one of statuses for each of 3 ids; got 2"),
        ({"classes": CLASSES[::-1]}, "sorted by code point"),
        ({"classes": CLASSES[:2]}, r"2 classes need float32 of shape \(3, 2, 2\)"),
        ({"views": ("plain", "plain")}, "each once"),
        ({"views": ()}, "at least one view"),
        ({"log_probs": made().log_probs.astype(np.float64)}, "got float64"),
        ({"log_probs": made().log_probs[:, 0]}, r"got float32 of shape \(3, 3\)"),
        ({"log_probs": NAN_ROW}, "1 photo.* numbers not finite: 'b'"),
        ({"statuses": ("ok", "gone", "ok")}, "1 photo.* not 'ok' have numbers: 'b'"),
        ({"log_probs": LOGITS}, "must sum to 1, .* view 'plain' those of 3 photo"),
        ({"kind": "train"}, "kind of predictions must be one of 'oof', 'holdout', 'test'"),
        ({"labels": (None, "K9", None)}, "among the 3; 'K9' are not"),
        ({"labels": (None,)}, "one of labels for each"),
        ({"folds": (0, 1)}, "one of folds for each"),
    ],
)
def test_refuses_what_is_not_whole(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PredictionsError, match=message):
        replace(made(), **changes)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    with pytest.raises(PredictionsError, match="no such file"):
        Predictions.load(path)
    path.write_text("id,label\n")
    with pytest.raises(PredictionsError, match=r"p\.parquet cannot be read as predictions"):
        Predictions.load(path)
    made().save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PredictionsError, match="cannot be read"):
        Predictions.load(path)
    pl.DataFrame({"id": ["a"]}).write_parquet(path)
    with pytest.raises(PredictionsError, match="not of predictions: it says nothing of 'classes'"):
        Predictions.load(path)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.col("log_prob_flip").arr.get(0).alias("log_prob_flip"), "'log_prob_flip' must be Arr"),
        (pl.lit(None, dtype=pl.String).alias("status"), "'status' has 3 empty rows"),
        (pl.lit("a").alias("id"), "cannot be used: Ids must be unique"),
        (pl.Series("fold", [None, 0, 1], dtype=pl.Int64), "'fold' has 1 empty rows"),
        (pl.lit("0").alias("fold"), "'fold' must be Int64; got String"),
    ],
)
def test_changed_files_are_refused(tmp_path: Path, column: pl.Expr, message: str) -> None:
    path = tmp_path / "p.parquet"
    made().save(path)
    metadata = pl.read_parquet_metadata(path)
    kept = {key: metadata[key] for key in ("classes", "views", "kind", "run")}
    pl.read_parquet(path).with_columns(column).write_parquet(path, metadata=kept)
    with pytest.raises(PredictionsError, match=message):
        Predictions.load(path)


def test_truth_is_given_only_if_all_of_it_is_known() -> None:
    assert made(labels=CLASSES).truth() == dict(zip("abc", CLASSES, strict=True))
    assert made(()).truth() == {}
    for labels in (None, (CLASSES[0], None, None)):
        with pytest.raises(PredictionsError, match="of 3 photos is not in these predictions"):
            made(labels=labels).truth()


def test_folds_are_joined_by_id() -> None:
    one = made(("d", "a"), folds=(0, 0), labels=CLASSES[:2])
    two = made(("c", "b"), bad=("b",), seed=1, folds=(1, 1), labels=CLASSES[1:])
    whole = Predictions.merge_folds([two, one], expected="abcd")
    assert whole.ids == ("a", "b", "c", "d")
    assert whole.folds == (0, 1, 1, 0)
    assert whole.labels == (CLASSES[1], CLASSES[2], CLASSES[1], CLASSES[0])
    assert whole.statuses == ("ok", "unreadable: truncated JPEG", "ok", "ok")
    np.testing.assert_array_equal(whole.log_probs[[3, 0]], one.log_probs)
    np.testing.assert_array_equal(whole.log_probs[[2, 1]], two.log_probs)
    assert same(whole, Predictions.merge_folds([one, two]))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (made(("a", "x")), r"1 id\(s\) are predicted by more than one fold: 'a'"),
        (made(("x",), classes=("a", "b", "c")), "agree on their classes, but number 2"),
        (made(("x",), views=("plain", "left")), "agree on their views"),
        (made(("x",), run="run-2"), "agree on their run"),
        (made(("x",), kind="test"), "agree on their kind"),
        (made(("x",), folds=(1,)), "Some of the predictions have folds"),
        (made(("x",)), "1 id.s. without a prediction: 'z'; 1 id.s. not asked for: 'x'"),
    ],
)
def test_folds_that_do_not_fit_are_refused(other: Predictions, message: str) -> None:
    with pytest.raises(PredictionsError, match=message):
        Predictions.merge_folds([made(), other], expected="abcz" if "'z'" in message else None)
    with pytest.raises(PredictionsError, match="at least one"):
        Predictions.merge_folds([])
