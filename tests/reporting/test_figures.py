from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from chajong.labels import Labels
from chajong.metrics import calibration_bins, calibration_error
from chajong.predictions import Predictions
from chajong.reporting.figures import confusions, png, reliability

LABELS = Labels(("K3", "K5", "K7", "쏘나타", "아반떼"))


def table(answers: dict[tuple[int, int], int]) -> Predictions:
    """Photos of a class that are taken for another, by how many; sure of it by 0.6."""
    pairs = [pair for pair, count in answers.items() for _ in range(count)]
    probs = np.full((len(pairs), 5), 0.1)
    probs[np.arange(len(pairs)), [answer for _, answer in pairs]] = 0.6
    return Predictions(
        ids=tuple(f"{place:03}" for place in range(len(pairs))),
        statuses=("ok",) * len(pairs),
        classes=LABELS.names,
        views=("plain",),
        log_probs=np.log(probs)[:, None].astype(np.float32),
        kind="oof",
        run="",
        labels=tuple(LABELS.names[truth] for truth, _ in pairs),
    )


MISTAKEN = table({(3, 4): 6, (3, 3): 2, (4, 4): 8, (0, 1): 1, (0, 0): 7, (1, 1): 8, (2, 2): 8})


def test_the_most_confused_classes_come_first() -> None:
    (axes,) = confusions(MISTAKEN, LABELS).axes
    assert len(axes.get_yticklabels()) == 5
    counts = [label.get_text().split()[-1] for label in axes.get_yticklabels()]
    assert counts == ["(8)", "(8)", "(8)", "(8)", "(8)"]
    said = {(int(text.get_position()[0]), int(text.get_position()[1])): text for text in axes.texts}
    # The pair of six mistakes is first: row 0, the one mistaken, and its answer in column 1.
    assert said[1, 0].get_text() == "75%"
    assert said[0, 0].get_text() == "25%"
    assert said[1, 1].get_text() == "100%"
    assert "7 of all 7 mistakes" in axes.get_title(loc="left")


def test_a_class_may_hold_what_begins_a_formula() -> None:
    names = ("A$^$", *LABELS.names[1:])
    figure = confusions(
        replace(
            MISTAKEN,
            classes=names,
            labels=tuple("A$^$" if name == "K3" else name for name in MISTAKEN.labels or ()),
        ),
        Labels(names),
    )
    assert png(figure)


def test_many_classes_leave_an_other() -> None:
    labels = Labels(tuple(f"c{place:02}" for place in range(40)))
    truth = np.arange(40)
    probs = np.full((40, 40), 0.01)
    probs[truth, (truth + 1) % 40] = 0.61
    made = Predictions(
        ids=labels.names,
        statuses=("ok",) * 40,
        classes=labels.names,
        views=("plain",),
        log_probs=np.log(probs / probs.sum(axis=1, keepdims=True))[:, None].astype(np.float32),
        kind="oof",
        run="",
        labels=labels.names,
    )
    (axes,) = confusions(made, labels).axes
    assert len(axes.get_yticklabels()) == 16
    last = [text.get_text() for text in axes.texts if text.get_position()[0] == 16]
    assert last
    assert set(last) == {"100%"}


def test_reliability_is_what_it_says() -> None:
    top, _ = reliability(table({(3, 3): 33, (4, 3): 7}), LABELS).axes
    line = next(line for line in top.lines if line.get_marker() == "o")
    # All photos are as sure, so they share one bin.
    (sure,), (share,) = np.asarray(line.get_xydata(), float).T
    assert sure == pytest.approx(0.6, abs=1e-6)
    assert share == pytest.approx(33 / 40)
    assert "calibration error 0.2250" in top.get_title(loc="left")


def test_the_bins_are_those_of_the_calibration_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(200).round(2)  # with ties
    correct = rng.random(200) < confidence**2
    bins = calibration_bins(confidence)
    error = np.abs(np.bincount(bins, correct - confidence)).sum() / 200
    assert error == pytest.approx(calibration_error(confidence, correct))


def test_pictures_can_be_read_on_any_ground() -> None:
    for draw in (confusions, reliability):
        # A letter that no font has would be a warning, and so an error here.
        with Image.open(BytesIO(png(draw(MISTAKEN, LABELS), 50))) as picture:
            red, green, blue, opaque = picture.convert("RGBA").getpixel((1, 1))  # type: ignore[misc]
            assert ((red, green, blue), opaque) == ((255, 255, 255), 255)
