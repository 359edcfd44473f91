"""What is said of a photo: as deep as we are sure, and nothing that is not known."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from chajong.bundle import Bundle
from chajong.catalogue import known_catalogue
from chajong.depths import DEEPEST_FIRST
from chajong.errors import BundleError, DataError, PredictionsError
from chajong.gallery import STRANGE_FROM
from chajong.labels import Labels
from chajong.risk import Risks
from chajong.serving.judge import Judge
from chajong.serving.verdict import Verdict
from tests.test_risk import CARS, LABELS


def record(level: str, num: int = 2000) -> Risks:
    """Held-out answers that are right at one level and coarser, and wrong half the time below."""
    right = np.ones((num, 4), bool)
    right[::2, : DEEPEST_FIRST.index(level)] = False
    return Risks(np.full((num, 4), 0.3, np.float32), right, np.arange(num))


def judged(risks: Risks | None, *rows: list[float]) -> list[Verdict]:
    return Judge.fitted(LABELS, CARS, risks, 0.02).verdicts(np.log(np.array(rows)))


A1 = [0.6, 0.3, 0.06, 0.02, 0.02]


@pytest.mark.parametrize(
    ("level", "exact", "generation", "model", "make", "years", "score"),
    [
        ("exact", "a1", "I", "one", "A", (2001, 2005), 0.6),
        ("generation", None, "I", "one", "A", (2001, 2009), 0.9),
        ("model", None, None, "one", "A", (2001, 2009), 0.9),
        ("maker", None, None, None, "A", (None, None), 0.96),
    ],
)
def test_each_level_says_what_it_knows(
    level: str,
    exact: str | None,
    generation: str | None,
    model: str | None,
    make: str,
    years: tuple[int | None, int | None],
    score: float,
) -> None:
    (said,) = judged(record(level), A1)
    assert (said.level, said.exact, said.generation, said.model, said.make) == (
        *(level, exact, generation, model, make),
    )
    assert (said.year_from, said.year_to) == years  # those of a3 are not known
    assert said.score == pytest.approx(score)
    assert said.make_ko == "가"
    assert (said.abstained, said.reason) == (False, "sure" if exact else "unsure")
    # All levels are told, sure or not.
    assert {name: one.name for name, one in said.levels.items()} == {
        "maker": "A",
        "model": "A one",
        "generation": "A one I",
        "exact": "a1",
    }
    assert [one.name for one in said.top] == ["a1", "a2", "a3", "b1"]
    assert sum(one.prob for one in said.top) == pytest.approx(1)


def test_nothing_is_said_where_nothing_is_sure() -> None:
    (said,) = judged(Risks(*_never_right()), A1)
    assert (said.level, said.abstained, said.reason) == ("none", True, "unsure")
    assert (said.exact, said.make, said.make_ko, said.model, said.year_from) == (None,) * 5
    assert said.score == pytest.approx(0.96)  # of the likeliest maker
    assert said.top[0].name == "a1"


def _never_right() -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]:
    return np.full((500, 4), 0.5, np.float32), np.zeros((500, 4), bool), np.arange(500)


def test_what_the_catalogue_does_not_know_is_not_said() -> None:
    unknown = [0.01, 0.01, 0.01, 0.27, 0.7]
    (said,) = judged(record("maker"), unknown)
    # Too unsure for the exact class, and there is no name for anything else.
    assert (said.level, said.abstained, said.make) == ("none", True, None)
    assert list(said.levels) == ["exact"]
    assert said.levels["exact"].prob == pytest.approx(0.97)
    (said,) = judged(record("exact"), unknown)
    assert (said.level, said.exact, said.make, said.model) == ("exact", "b1", None, None)
    # a3 has a model, but no generation: that level is passed over.
    (said,) = judged(record("generation"), [0.01, 0.01, 0.96, 0.01, 0.01])
    assert "generation" not in said.levels
    assert said.level == "none"
    (said,) = judged(record("model"), [0.01, 0.01, 0.96, 0.01, 0.01])
    assert (said.level, said.model, said.generation) == ("model", "two", None)


def test_strange_photos_get_no_answer() -> None:
    rows = np.log(np.array([A1, A1]))
    strangeness = np.array([STRANGE_FROM - 0.001, STRANGE_FROM])
    for risks in (record("exact"), None):
        one, other = Judge.fitted(LABELS, CARS, risks).verdicts(rows, strangeness)
        assert (one.level, one.reason, one.strangeness) == ("exact", "sure", STRANGE_FROM - 0.001)
        assert (other.level, other.reason, other.abstained) == ("none", "strange", True)
        assert other.make is None


def test_without_held_out_answers_the_exact_class_is_said() -> None:
    (said,) = judged(None, [0.21, 0.2, 0.2, 0.2, 0.19])
    assert (said.level, said.exact, said.reason) == ("exact", "b1", "sure")


def test_odd_numbers_are_refused() -> None:
    judge = Judge.fitted(LABELS, CARS, None)
    for rows in (np.full((1, 5), np.nan), np.zeros((1, 4)), np.zeros(5)):
        with pytest.raises(PredictionsError, match="needs 5 finite log-probabilities"):
            judge.verdicts(rows)
    assert judge.verdicts(np.zeros((0, 5))) == []
    with pytest.raises(DataError, match="above 0 and below 1"):
        Judge.fitted(LABELS, CARS, record("exact"), 2.0)


def test_rows_do_not_hang_on_each_other() -> None:
    # Through the 396 classes: one by one and all at once, in single and double precision.
    catalogue = known_catalogue()
    labels = Labels.of(car.name for car in catalogue.cars)
    rng = np.random.default_rng(0)
    logits = 3 * rng.standard_normal((20, len(labels.names)))
    rows = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    judge = Judge.fitted(labels, catalogue, record("model"))
    whole = judge.verdicts(rows.astype(np.float32))
    for row, said in zip(rows, whole, strict=True):
        (alone,) = judge.verdicts(row[None])
        assert (alone.level, alone.make, alone.model) == (said.level, said.make, said.model)
        probs = [said.levels[name].prob for name in DEEPEST_FIRST if name in said.levels]
        assert probs == sorted(probs)
        assert said.levels["exact"].prob == said.top[0].prob


def test_a_bundle_holds_what_is_needed(exported: Bundle) -> None:
    assert exported.risks is not None
    assert len(exported.risks.groups) == 510
    rows = np.log(np.full((2, 3), 1 / 3, np.float32))
    assert [said.level for said in Judge.of(exported, 1e-6).verdicts(rows)] == ["none", "none"]


def test_a_bundle_without_held_out_answers_keeps_no_risk(exported: Bundle) -> None:
    none = replace(exported, risks=None)
    rows = np.log(np.full((1, 3), 1 / 3, np.float32))
    with pytest.raises(BundleError, match="export a run of folds or a blend"):
        Judge.of(none, 0.02).verdicts(rows)
    assert Judge.of(none).verdicts(rows)[0].level == "exact"
