"""What held-out photos foretell of cars of models that were never learned."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chajong.gallery import Gallery, unit
from chajong.labels import Labels
from chajong.pooling import Floats
from chajong.unknown import Unknown

LABELS = Labels(tuple(f"{place:02}" for place in range(60)))
NUM = len(LABELS.names)
EACH, HELD = 12, 6  # photos of a class, and of those held out


def made_up(clearness: float, seed: int = 0) -> Gallery:
    """Make a gallery whose classes lie apart, and are answered, as clearly as is asked."""
    rng = np.random.default_rng(seed)
    own = np.repeat(np.arange(NUM), EACH)
    embeddings = unit(clearness * np.eye(NUM, 64)[own] + rng.normal(0, 0.2, (len(own), 64)))
    held = np.flatnonzero(np.tile(np.arange(EACH) < HELD, NUM))
    logits = clearness * 3 * np.eye(NUM)[own[held]] + rng.normal(0, 1, (len(held), NUM))
    return Gallery(
        tuple(f"{place}.jpg" for place in range(len(own))),
        tuple(LABELS.names[place] for place in own),
        embeddings.astype(np.float16),
        held,
        logs(logits),
        np.zeros(0),
    ).calibrated(embeddings[held])


def logs(logits: NDArray[np.floating[Any]]) -> Floats:
    made: Floats = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
    return made


def without(
    gallery: Gallery, gone: set[str], asked: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Ask a gallery that never had some classes about held-out photos of one of them."""
    stays = np.array([name not in gone for name in gallery.names])
    rows = np.array([gallery.names[place] == asked for place in gallery.held_out])
    was_held = np.isin(np.arange(len(stays)), gallery.held_out)
    less = replace(
        gallery,
        photos=tuple(np.array(gallery.photos)[stays]),
        names=tuple(np.array(gallery.names)[stays]),
        embeddings=gallery.embeddings[stays],
        held_out=np.flatnonzero(was_held[stays]),
        log_probs=gallery.log_probs[stays[gallery.held_out]],
    )
    columns = [place for place, name in enumerate(LABELS.names) if name not in gone]
    seen = gallery.embeddings[gallery.held_out[rows]].astype(np.float32)
    answers = logs(gallery.log_probs[rows][:, columns])
    # What is usual was measured among all classes.
    mean, width = less.scales[1]
    share = len(columns) / NUM
    less = replace(less, scales=(less.scales[0], (mean * share, width * share), less.scales[2]))
    return less.scores(seen, answers), rows


@pytest.mark.parametrize(
    ("equal", "gone"),
    [((), {"07"}), ((("07", "11"),), {"07", "11"})],
    ids=["alone", "with its equal"],
)
def test_an_untaught_photo_scores_as_where_its_class_never_was(
    equal: tuple[tuple[str, str], ...], gone: set[str]
) -> None:
    gallery = made_up(2.0)  # so that distances are unusual without the class
    found = gallery.scores_untaught(replace(LABELS, equal=equal))
    wanted, rows = without(gallery, gone, "07")
    np.testing.assert_allclose(found[rows], wanted, rtol=1e-5)


def test_clear_classes_foretell_that_new_cars_are_told_and_vague_ones_that_they_are_not() -> None:
    clear, vague = (Unknown.of(made_up(clearness), LABELS) for clearness in (2.0, 0.0))
    assert clear is not None
    assert vague is not None
    assert clear.auc.value > 0.98
    assert clear.strange > 0.8
    assert vague.auc.value == pytest.approx(0.5, abs=0.1)
    assert vague.strange < 0.1
    assert clear.num_photos == vague.num_photos == NUM * HELD


def test_what_was_foretold_comes_true() -> None:
    # Photos of one class more are as strange as those whose class is hidden.
    gallery = made_up(0.8)
    rng = np.random.default_rng(1)
    new = unit(0.8 * np.eye(64)[[NUM] * 200] + rng.normal(0, 0.2, (200, 64)))
    scores = gallery.scores(new, logs(rng.normal(0, 1, (200, NUM))))
    usual = gallery.scores(
        gallery.embeddings[gallery.held_out].astype(np.float32), gallery.log_probs
    )
    area = (scores[:, None] > usual).mean()
    found = Unknown.of(gallery, LABELS)
    assert found is not None
    assert found.auc.low < found.auc.value < found.auc.high
    assert area == pytest.approx(found.auc.value, abs=0.05)


def test_nothing_is_foretold_without_photos_of_two_classes() -> None:
    gallery = made_up(1.0)
    one = replace(LABELS, equal=tuple(pairwise(LABELS.names)))
    assert Unknown.of(gallery, one) is None
    assert Unknown.of(replace(gallery, usual=gallery.usual[:0]), LABELS) is None
