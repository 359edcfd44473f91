"""Suspects: the labels that held-out predictions doubt."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from chajong.errors import PredictionsError
from chajong.labels import Labels
from chajong.predictions import Predictions
from chajong.suspects import find_suspects
from tests.test_corrections import manifest

NAMES = ("가", "나", "다")
SCENES = {"0.jpg": 0, "1.jpg": 0, "2.jpg": 1, "3.jpg": 2, "4.jpg": 2}


def predicted(probs: list[list[float]], given: str) -> Predictions:
    return Predictions(
        ids=tuple(f"{number}.jpg" for number in range(len(given))),
        statuses=("ok",) * len(given),
        classes=NAMES,
        views=("plain",),
        log_probs=np.log(np.array(probs, np.float32))[:, None],
        kind="oof",
        run="r",
        labels=tuple(given),
        folds=(0,) * len(given),
    )


PROBS = [[0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.02, 0.96, 0.02], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]]


def test_the_most_doubted_label_comes_first() -> None:
    found = find_suspects(predicted(PROBS, "가나가가다"), Labels(NAMES)).table
    assert found["id"].to_list() == ["2.jpg", "3.jpg", "1.jpg"]
    assert found["suggested"].to_list() == ["나", "다", "가"]
    assert found["p_given"].to_list() == pytest.approx([0.02, 0.1, 0.3])
    assert found["p_suggested"].to_list() == pytest.approx([0.96, 0.8, 0.6])
    assert found["score"].is_sorted(descending=True)
    assert found["score"].is_between(0, 1).all()


def test_equal_classes_are_no_doubt() -> None:
    equal = Labels(NAMES, (("가", "나"),))
    found = find_suspects(predicted(PROBS, "가나가가다"), equal).table
    assert found["id"].to_list() == ["3.jpg", "4.jpg"]


def test_a_duplicate_with_another_label_is_heard() -> None:
    photos = manifest()
    twins = photos.table.with_columns(
        scene=pl.when(pl.col("id").is_in(["0.jpg", "1.jpg"])).then(0).otherwise("scene")
    )
    table = predicted(PROBS, "가나가나다")
    alone = find_suspects(table, Labels(NAMES), photos).table
    assert alone["duplicate_says"].is_null().all()
    found = find_suspects(table, Labels(NAMES), replace(photos, table=twins)).table
    says = dict(found.select("id", "duplicate_says").iter_rows())
    assert (says["0.jpg"], says["1.jpg"], says["2.jpg"]) == ("나", "가", None)
    scores = dict(found.select("id", "score").iter_rows())
    assert scores["1.jpg"] > scores["0.jpg"] > 0.5


def test_a_group_of_the_user_is_no_duplicate() -> None:
    photos = manifest()
    lot = photos.table.with_columns(group=pl.lit(0, pl.Int64), user_group=pl.lit("lot"))
    table = predicted(PROBS, "가나가나다")
    found = find_suspects(table, Labels(NAMES), replace(photos, table=lot)).table
    assert found["duplicate_says"].is_null().all()
    # Nor do two pairs of twins that it joins speak of each other.
    twins = lot.with_columns(
        scene=pl.col("id").replace_strict(SCENES, default=None),
        label=pl.when(pl.col("id") == "4.jpg").then(pl.lit("다")).otherwise("label"),
    )
    found = find_suspects(table, Labels(NAMES), replace(photos, table=twins)).table
    says = dict(found.select("id", "duplicate_says").iter_rows())
    assert (says["0.jpg"], says["1.jpg"], says["3.jpg"], says["4.jpg"]) == ("나", "가", "다", "나")


def test_flipped_labels_are_found_and_counted() -> None:
    rng = np.random.default_rng(0)
    right = rng.integers(0, 3, 600)
    logits = rng.normal(0, 1, (600, 3)) + 5 * np.eye(3)[right]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given = right.copy()
    given[:40] = (right[:40] + 1) % 3
    table = predicted(probs.tolist(), "".join(NAMES[place] for place in given))
    found = find_suspects(table, Labels(NAMES))
    first = {int(id_.removesuffix(".jpg")) for id_ in found.table["id"][:40]}
    assert len(first & set(range(40))) >= 36
    assert 34 <= found.num_expected <= 50
    # Photos that cannot be read take nothing away from the others.
    statuses = [*table.statuses[:-9], *["unreadable: empty file"] * 9]
    log_probs = table.log_probs.copy()
    log_probs[-9:] = np.nan
    holed = replace(table, statuses=tuple(statuses), log_probs=log_probs)
    less = find_suspects(holed, Labels(NAMES))
    assert abs(less.num_expected - found.num_expected) <= 9
    assert set(found.table["id"]) - set(less.table["id"]) <= set(table.ids[-9:])


def test_equal_labels_of_a_picture_speak_together() -> None:
    # Four of eight copies are of two equal classes, three of another one, and one asks.
    photos, given, names = manifest(), "라가가나나다다다", ("가", "나", "다", "라")
    ids = [f"{place}.jpg" for place in range(8)]
    copies = pl.concat([photos.table.filter(pl.col("id") == "0.jpg")] * 8).with_columns(
        id=pl.Series(ids), label=pl.Series([*given]), scene=pl.lit(0, pl.Int64)
    )
    same = np.full((8, 1, 4), np.log(0.25), np.float32)
    table = replace(
        predicted([[0.1, 0.2, 0.7]] * 8, "가" * 8), classes=names, log_probs=same, labels=(*given,)
    )
    equal = Labels(names, (("가", "나"),))
    found = find_suspects(table, equal, replace(photos, table=copies, labels=equal)).table
    says = dict(found.select("id", "duplicate_says").iter_rows())
    # Those whom most agree with are not in doubt.
    assert [says.get(id_) for id_ in ids] == ["가", None, None, None, None, "가", "가", "가"]


def test_only_out_of_fold_predictions_of_these_classes_doubt() -> None:
    with pytest.raises(PredictionsError, match="of other classes than the labels"):
        find_suspects(predicted(PROBS, "가나가가다"), Labels(NAMES[1:]))
    with pytest.raises(PredictionsError, match="out-of-fold"):
        find_suspects(replace(predicted(PROBS, "가나가가다"), kind="test"), Labels(NAMES))


def test_a_spreadsheet_reads_them(tmp_path: Path) -> None:
    found = find_suspects(predicted(PROBS, "가나가가다"), Labels(NAMES))
    found.save(tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_bytes().startswith(b"\xef\xbb\xbfid,label,suggested")
    assert pl.read_csv(tmp_path / "s.csv")["suggested"].to_list() == ["나", "다", "가"]
