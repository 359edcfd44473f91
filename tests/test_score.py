import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as reference

from chajong.catalogue import Car, Catalogue, known_catalogue
from chajong.errors import DataError, PredictionsError, RunError
from chajong.labels import Labels, known_names
from chajong.metrics import Estimate
from chajong.predictions import Predictions
from chajong.score import Score, read_truth, score

CLASSES = ("K5", "그랜저", "모닝", "쏘나타")


def made(
    num_photos: int = 60, bad: tuple[int, ...] = (), classes: tuple[str, ...] = CLASSES
) -> tuple[Predictions, dict[str, str]]:
    generator = np.random.default_rng(num_photos)
    truth = generator.integers(len(classes), size=num_photos)
    logits = generator.normal(size=(num_photos, 2, len(classes)))
    logits[np.arange(num_photos), :, truth] += 1
    logs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    logs[list(bad)] = np.nan
    predictions = Predictions(
        ids=tuple(f"T_{i:03}" for i in range(num_photos)),
        statuses=tuple("unreadable: empty" if i in bad else "ok" for i in range(num_photos)),
        classes=classes,
        views=("plain", "flip"),
        log_probs=logs.astype(np.float32),
        kind="holdout",
        run="run",
    )
    return predictions, {id_: classes[i] for id_, i in zip(predictions.ids, truth, strict=True)}


def test_the_score_is_that_of_scikit_learn() -> None:
    predictions, truth = made()
    probs, true = predictions.probabilities(), [CLASSES.index(name) for name in truth.values()]
    got = score(predictions, truth)
    top = probs.argmax(axis=1)
    assert got.num_photos == 60
    assert got.log_loss.value == pytest.approx(
        reference.log_loss(true, probs, labels=range(4)), abs=1e-9
    )
    assert got.top1.value == pytest.approx(reference.accuracy_score(true, top), abs=1e-9)
    assert got.macro_f1.value == pytest.approx(
        reference.f1_score(true, top, average="macro"), abs=1e-9
    )
    assert got.top5.value == 1


def test_the_order_of_photos_does_not_matter() -> None:
    predictions, truth = made()
    predictions.log_probs[1::2] = predictions.log_probs[::2]  # photos of one confidence
    turned = replace(
        predictions, ids=predictions.ids[::-1], log_probs=predictions.log_probs[::-1].copy()
    )
    assert score(turned, dict(reversed(truth.items()))) == score(predictions, truth)


def test_equal_classes_count_as_one_and_are_named() -> None:
    predictions, truth = made()
    pairs = (("K5", "모닝"),)
    renamed = {id_: "K5" if name == "모닝" else name for id_, name in truth.items()}
    got = score(predictions, truth, pairs)
    assert got.equal == pairs
    assert got == score(predictions, renamed, pairs)
    assert got.log_loss.value < score(predictions, truth, ()).log_loss.value
    with pytest.raises(DataError, match="'K9' are not classes"):
        score(predictions, truth, (("K5", "K9"),))


def test_the_competitions_pairs_are_equal_unless_others_are_given() -> None:
    predictions, truth = made(classes=known_names())
    assert len(score(predictions, truth).equal) == 5
    assert score(predictions, truth, ()).equal == ()


def test_groups_decide_the_interval_not_the_value() -> None:
    predictions, truth = made()
    groups = {id_: place // 10 for place, id_ in enumerate(predictions.ids)}
    alone, grouped = score(predictions, truth), score(predictions, truth, groups=groups)
    assert grouped.log_loss.value == alone.log_loss.value
    assert grouped.log_loss.low != alone.log_loss.low
    holed, truth = made(bad=(3,))
    assert score(holed, truth, groups=groups, unreadable="skip").num_photos == 59
    del groups["T_007"]
    with pytest.raises(PredictionsError, match=r"1 photo\(s\) have no group: 'T_007'"):
        score(holed, truth, groups=groups, unreadable="skip")


def test_photos_that_do_not_match_are_refused() -> None:
    predictions, truth = made()
    fewer = {id_: truth[id_] for id_ in predictions.ids[8:]}
    with pytest.raises(PredictionsError, match=r"8 id\(s\) not asked for: 'T_000'.* and 3 more"):
        score(predictions, fewer)
    with pytest.raises(PredictionsError, match=r"1 id\(s\) without a prediction: 'X'"):
        score(predictions, truth | {"X": "K5"})
    korean = replace(predictions, ids=("사진", *predictions.ids[1:]))
    names = {unicodedata.normalize(form, "사진"): "K5" for form in ("NFC", "NFD")}
    with pytest.raises(PredictionsError, match="'사진' are there in two Unicode forms"):
        score(korean, {id_: truth[id_] for id_ in predictions.ids[1:]} | names)


def test_ids_of_files_are_matched_by_stem_and_noted() -> None:
    predictions, truth = made()
    of_files = replace(predictions, ids=tuple(f"test/{id_}.jpg" for id_ in predictions.ids))
    got = score(of_files, truth)
    assert got.log_loss == score(predictions, truth).log_loss
    assert got.notes
    assert got.notes[0] in got.lines()


def test_unknown_labels_are_refused() -> None:
    predictions, truth = made()
    with pytest.raises(DataError, match=r"1 label\(s\) .*\n.*'쏘나터' \(did you mean '쏘나타'"):
        score(predictions, truth | {"T_003": "쏘나터"})


def test_labels_are_compared_in_nfc() -> None:
    predictions, truth = made()
    decomposed = {id_: unicodedata.normalize("NFD", name) for id_, name in truth.items()}
    assert score(predictions, decomposed) == score(predictions, truth)


def test_photos_without_a_prediction_need_a_fallback() -> None:
    predictions, truth = made(bad=(3, 7))
    with pytest.raises(PredictionsError, match=r"2 of 60 .*'T_003 \(unreadable: empty\)', 'T_007"):
        score(predictions, truth)
    with pytest.raises(PredictionsError, match="must be one of 'refuse', 'uniform', 'skip'"):
        score(predictions, truth, unreadable="zero")  # type: ignore[arg-type]


def test_the_fallbacks_do_what_they_say() -> None:
    predictions, truth = made(bad=(3, 7))
    skipped = score(predictions, truth, unreadable="skip")
    uniform = score(predictions, truth, unreadable="uniform")
    assert (skipped.num_photos, skipped.num_unscored) == (58, 2)
    assert (uniform.num_photos, uniform.num_unscored) == (60, 0)
    assert skipped.unpredicted == uniform.unpredicted == (("unreadable: empty", 2),)
    expected = (skipped.log_loss.value * 58 + 2 * np.log(4)) / 60
    assert uniform.log_loss.value == pytest.approx(expected)
    assert "2 photo(s) left out: unreadable: empty" in skipped.lines()
    assert "2 photo(s) scored as a uniform guess: unreadable: empty" in uniform.lines()
    # A guess is right nowhere, though its likeliest class, the first of all, may be the true one.
    assert uniform.top1.value * 60 == pytest.approx(skipped.top1.value * 58)
    assert uniform.top5.value * 60 == pytest.approx(skipped.top5.value * 58)
    assert uniform.macro_f1.value < skipped.macro_f1.value
    nothing, truth = made(2, bad=(0, 1))
    with pytest.raises(PredictionsError, match="no photo to score"):
        score(nothing, truth, unreadable="skip")


def test_the_score_goes_into_json_and_onto_a_terminal() -> None:
    predictions, truth = made()
    got = score(predictions, truth, (("K5", "모닝"),))
    back = json.loads(json.dumps(got.as_dict()))
    assert Estimate(**back["log_loss"]) == got.log_loss
    assert back["equal"] == [["K5", "모닝"]]
    lines = got.lines()
    assert f"{got.log_loss.value:.4f}   {got.log_loss.low:.4f} to" in lines[1]
    assert lines[-1] == "1 pair(s) of equal classes counted as one"


def test_levels_are_scored_on_the_sums_of_their_classes() -> None:
    predictions, truth = made(200, classes=known_names()[150:250])
    probs = predictions.probabilities()
    true = np.array([predictions.classes.index(name) for name in truth.values()])
    got = {level.level: level for level in score(predictions, truth, ()).levels}
    assert list(got) == ["maker", "model", "generation"]
    for level in known_catalogue().levels(Labels(predictions.classes)):
        if level.name == "exact":
            continue
        summed = np.stack(
            [probs[:, level.groups == group].sum(axis=1) for group in range(len(level.names))],
            axis=1,
        )
        of_true = summed[np.arange(len(true)), level.groups[true]]
        told = got[level.name]
        assert told.num_groups == len(level.names)
        assert told.log_loss.value == pytest.approx(-np.log(of_true).mean(), abs=1e-9)
        hits = summed.argmax(axis=1) == level.groups[true]
        assert told.top1.value == pytest.approx(hits.mean(), abs=1e-9)
        assert told.log_loss.low < told.log_loss.value < told.log_loss.high


def test_coarser_levels_are_easier() -> None:
    plain, truth = made(200, classes=known_names())
    labels = Labels(known_names())
    maker, model = (level.groups for level in list(known_catalogue().levels(labels))[:2])
    true = labels.indices(list(truth.values()))
    # Cars of one maker look alike, those of one model more so.
    near = 4.0 * (maker == maker[true][:, None]) + 2.0 * (model == model[true][:, None])
    logits = plain.log_probs + near[:, None].astype(np.float32)
    log_probs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    got = score(replace(plain, log_probs=log_probs), truth)
    losses = [level.log_loss.value for level in got.levels] + [got.log_loss.value]
    hits = [level.top1.value for level in got.levels] + [got.top1.value]
    assert losses == sorted(losses)
    assert hits[0] > hits[1] > hits[-1]


def test_a_level_that_groups_no_more_than_the_next_is_left_out() -> None:
    predictions, truth = made()
    assert [level.level for level in score(predictions, truth).levels] == ["maker"]
    predictions, truth = made(classes=("가온_1세대_2014", "가온_2세대_2018", "하람_2014"))
    assert [level.level for level in score(predictions, truth).levels] == ["model"]
    predictions, truth = made(classes=("가온", "하람"))
    assert score(predictions, truth).levels == ()


def test_a_users_catalogue_decides_levels_and_equal_classes() -> None:
    predictions, truth = made()
    cars = [Car(name, maker_en="A", model="B", generation=name[0]) for name in CLASSES]
    cars[2] = replace(cars[2], generation="K", equal_to="K5")
    own = Catalogue(tuple(cars))
    got = score(predictions, truth, catalogue=own)
    assert got.equal == (("모닝", "K5"),)
    assert [(level.level, level.num_groups) for level in got.levels] == [("model", 1)]
    assert got.levels[0].top1.value == 1
    assert score(predictions, truth, (), catalogue=own).equal == ()


def test_levels_go_into_json_and_onto_a_terminal(tmp_path: Path) -> None:
    predictions, truth = made()
    got = score(predictions, truth)
    got.save(tmp_path / "score.json")
    assert Score.load(tmp_path / "score.json") == got
    maker = got.levels[0]
    assert f"by maker       log loss {maker.log_loss.value:.4f} (" in got.lines()[-1]
    assert f"top-1 {maker.top1.value:.4f} (" in got.lines()[-1]
    assert got.lines()[-1].endswith("2 groups")
    # Scores of older versions have no levels.
    saved = json.loads((tmp_path / "score.json").read_text(encoding="utf-8"))
    del saved["levels"]
    (tmp_path / "score.json").write_text(json.dumps(saved), encoding="utf-8")
    assert Score.load(tmp_path / "score.json") == replace(got, levels=())
    (tmp_path / "score.json").write_text("{}")
    with pytest.raises(RunError, match=r"score\.json is damaged: .*train or blend again"):
        Score.load(tmp_path / "score.json")


@pytest.mark.parametrize("header", ["ID,label", "\ufeffid,x,Label", "ID,Label,label"])
def test_truth_is_read(tmp_path: Path, header: str) -> None:
    row = "사진,쏘나타" if header == "ID,label" else "사진,9,쏘나타"
    content = unicodedata.normalize("NFD", f"{header}\r\n{row}\r\n")
    (tmp_path / "truth.csv").write_text(content, encoding="utf-8", newline="")
    assert read_truth(tmp_path / "truth.csv") == {"사진": "쏘나타"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ID,class\na,b\n", "no column 'label'; it has 2: 'ID', 'class'"),
        ("a,b\nc,d\n", "no column 'ID', 'label'"),
        ("ID,label\na,b\na,c\n", "1 are repeated: 'a'"),
        ("ID,label\na,\n", "empty cell"),
        (
            "id,Id,label\na,b,c\n",
            "several columns that may be 'ID': 'id', 'Id'. Call one of them ID",
        ),
    ],
)
def test_truth_that_is_not_whole_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "truth.csv").write_text(content, encoding="utf-8")
    with pytest.raises((DataError, PredictionsError), match=message):
        read_truth(tmp_path / "truth.csv")


@pytest.mark.parametrize(
    ("text", "said"), [("ID,label\n", "no rows"), ('ID,label\na,""\n', "1 empty cell")]
)
def test_truth_without_an_answer(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_truth(tmp_path / "truth.csv")
