from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chajong.api_answers import evaluate
from chajong.blending.blend import Blend, Member
from chajong.errors import PredictionsError, RunError
from chajong.metrics import log_loss
from chajong.pairs import known_differences, open_side, pair
from chajong.predictions import Predictions
from chajong.run import Run
from chajong.score import score
from tests.experiments.made_up import NAMES, answers, labels_of, make_run, recipe

LABELS = labels_of(40)


def two_runs(folder: Path) -> tuple[Run, Run]:
    a = make_run(folder / "a", LABELS, answers(LABELS, 1.0))
    b = make_run(folder / "b", LABELS, answers(LABELS, 2.0, seed=1), recipe("optim.lr=0.5"))
    return a, b


def rewrite(path: Path, **changes: object) -> None:
    replace(Predictions.load(path), **changes).save(path)  # type: ignore[arg-type]


def test_photos_are_paired_by_id_and_not_by_place(tmp_path: Path) -> None:
    a, b = two_runs(tmp_path)
    table = Predictions.load(b.predictions_path)
    order = np.random.default_rng(0).permutation(len(LABELS))
    rewrite(
        b.predictions_path,
        ids=tuple(np.array(table.ids)[order]),
        log_probs=table.log_probs[order],
        labels=tuple(np.array(table.labels)[order]),
        folds=None,
    )
    found = pair(open_side([a.folder]), open_side([b.folder]))
    assert len(found.ids) == 40
    for losses, run in ((found.losses_a, a), (found.losses_b, b)):
        assert losses.shape == (1, 40)
        score = run.score()
        assert score is not None
        assert losses.mean() == pytest.approx(score.log_loss.value)
    assert found.right_b.mean() > found.right_a.mean()
    assert found.left_out == {}
    assert found.classes == tuple(LABELS)
    np.testing.assert_allclose(found.gaps, found.losses_b[0] - found.losses_a[0])


def test_equal_classes_count_as_one_on_both_sides(tmp_path: Path) -> None:
    a, b = two_runs(tmp_path)
    sides = open_side([a.folder]), open_side([b.folder])
    plain = pair(*sides)
    equal = (NAMES[0], NAMES[1])
    # It is enough that one side knows of it.
    found = pair(sides[0], replace(sides[1], equal=(equal,)))
    truth = np.array([NAMES.index(label) for label in LABELS])
    table = Predictions.load(a.predictions_path)
    assert found.losses_a.mean() == pytest.approx(
        log_loss(table.probabilities(), truth, np.array([0, 0, 2]))
    )
    assert (found.losses_a <= plain.losses_a).all()
    assert set(found.classes) == {NAMES[0], NAMES[2]}
    # A label that was corrected from one to the other of equal classes is the same.
    labels = [NAMES[1], *LABELS[1:3], NAMES[1], *LABELS[4:]]
    other = make_run(tmp_path / "c", labels, answers(labels, 1.0))
    found = pair(sides[0], replace(open_side([other.folder]), equal=(equal,)))
    assert (len(found.ids), found.left_out) == (40, {})
    assert len(pair(sides[0], open_side([other.folder])).ids) == 38


def without(table: Predictions, name: str, path: Path) -> int:
    """Write the answers of a model that never heard of a class; say how many they are."""
    kept = [place for place, label in enumerate(LABELS) if label != name]
    known = [place for place, each in enumerate(NAMES) if each != name]
    probs = table.probabilities()[kept][:, known]
    replace(
        table,
        ids=tuple(table.ids[place] for place in kept),
        statuses=("ok",) * len(kept),
        labels=tuple(LABELS[place] for place in kept),
        folds=None,
        classes=tuple(NAMES[place] for place in known),
        log_probs=np.log(probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)[:, None],
    ).save(path)
    return len(kept)


def test_sides_of_other_classes_choose_among_the_shared_ones(tmp_path: Path) -> None:
    a, _ = two_runs(tmp_path)
    table = Predictions.load(a.predictions_path)
    num_kept = without(table, NAMES[2], tmp_path / "fewer.parquet")
    sides = open_side([a.folder]), open_side([tmp_path / "fewer.parquet"])
    found = pair(*sides)
    assert len(found.ids) == num_kept
    np.testing.assert_allclose(found.gaps, 0, atol=1e-6)
    told = "1 known to {} only; both choose among the 2 that both know"
    assert f"{'classes':<12} {told.format(a.folder)}" in known_differences(*sides)
    # An answer that holds the shared ones all but impossible is a choice among them, too.
    sure = np.tile(np.array([-900, -901, 0], np.float32), (len(table.ids), 1, 1))
    replace(table, log_probs=sure).save(tmp_path / "sure.parquet")
    found = pair(open_side([tmp_path / "sure.parquet"]), sides[1])
    first = np.array([name == NAMES[0] for name in found.classes])
    wanted = np.log1p(np.exp(-1)) + np.where(first, 0, 1)
    np.testing.assert_allclose(found.losses_a[0], wanted, atol=1e-4)
    # A class by its other name is one that both know.
    labels = tuple({NAMES[2]: "라"}.get(label, label) for label in LABELS)
    renamed = replace(table, classes=(*NAMES[:2], "라"), labels=labels)
    renamed.save(tmp_path / "renamed.parquet")
    other = replace(open_side([tmp_path / "renamed.parquet"]), equal=((NAMES[2], "라"),))
    assert len(pair(sides[0], other).ids) == 40
    assert not [line for line in known_differences(sides[0], other) if "known to" in line]


def test_near_duplicates_share_a_group(tmp_path: Path) -> None:
    groups = [number // 2 * 2 for number in range(40)]
    labels = [LABELS[number // 2] for number in range(40)]
    a = make_run(tmp_path / "a", labels, answers(labels, 1.0), groups=groups)
    b = make_run(tmp_path / "b", labels, answers(labels, 2.0), groups=groups)
    table = tmp_path / "table.parquet"
    Predictions.load(b.predictions_path).save(table)
    for sides in ((a.folder, b.folder), (a.folder, table), (table, a.folder)):
        found = pair(*(open_side([side]) for side in sides))
        assert found.groups.tolist() == [number // 2 for number in range(40)]
    alone = open_side([table])
    assert pair(alone, alone).groups.tolist() == list(range(40))
    assert known_differences(alone, alone)[-1].startswith("near-duplicates are not known")
    # A table in its run's folder needs nobody to say where the photos are.
    for place in ("oof.parquet", "fold-0/oof.parquet"):
        beside = open_side([b.folder / place])
        assert len(set(pair(beside, beside).groups.tolist())) < len(beside.ids)
        assert "near-duplicates" not in known_differences(beside, beside)[-1]
    whole, apart = evaluate(b.predictions_path), evaluate(table)
    told = Predictions.load(b.predictions_path)
    assert whole == score(told, told.truth(), groups=b.manifest().groups())
    assert whole.log_loss != apart.log_loss


def test_a_score_that_chose_its_epoch_is_told_of(tmp_path: Path) -> None:
    labels = labels_of(40)
    a = make_run(tmp_path / "a", labels, answers(labels, 1.0))
    b = make_run(tmp_path / "b", labels, answers(labels, 1.0), recipe("train.keep=best"))
    for side in (b.folder, b.predictions_path, b.held_out_path("0")):
        lines = known_differences(open_side([a.folder]), open_side([side]))
        assert lines[-1] == b.caution[0]
    assert not a.caution
    # A student of a table, whose teacher knew what it is checked on.
    taught = replace(b, recipe=recipe("distil.alpha=0.7"))
    assert "the teacher had learned labels" in taught.caution[0]
    assert not replace(b, recipe=recipe("distil.alpha=0.7", "distil.online=true")).caution


def test_what_is_not_shared_is_counted(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", LABELS, answers(LABELS, 1.0))
    labels = [NAMES[2], *LABELS[1:36]]  # the first has another class, four photos are missing
    b = make_run(tmp_path / "b", labels, answers(labels, 2.0), done=("0",))
    held_out = set(Predictions.load(b.model_folder("0") / "oof.parquet").ids)
    relabelled = "p00000.jpg" in held_out
    found = pair(open_side([a.folder]), open_side([b.folder]))
    assert set(found.ids) == held_out - {"p00000.jpg"}
    assert found.left_out["held out by the first only"] == 40 - len(held_out)
    assert found.left_out.get("of another class on the other side", 0) == relabelled
    turned = pair(open_side([b.folder]), open_side([a.folder]))
    assert turned.left_out["held out by the second only"] == 40 - len(held_out)


def test_photos_of_another_class_or_content_are_not_compared(tmp_path: Path) -> None:
    a, b = two_runs(tmp_path)
    labels = list(LABELS)
    labels[3] = NAMES[1]
    c = make_run(tmp_path / "c", labels, answers(labels, 1.0))
    found = pair(open_side([a.folder]), open_side([c.folder]))
    assert found.left_out == {"of another class on the other side": 1}
    assert "p00003.jpg" not in found.ids
    side = open_side([b.folder])
    side.contents["p00005.jpg"] = "another"
    found = pair(open_side([a.folder]), side)
    assert found.left_out == {"of another content on the other side": 1}
    assert "p00005.jpg" not in found.ids


def test_photos_without_a_prediction_are_not_compared(tmp_path: Path) -> None:
    a, b = two_runs(tmp_path)
    table = Predictions.load(b.predictions_path)
    log_probs = table.log_probs.copy()
    log_probs[0] = np.nan
    rewrite(b.predictions_path, log_probs=log_probs, statuses=("broken", *table.statuses[1:]))
    found = pair(open_side([a.folder]), open_side([b.folder]))
    assert found.left_out == {"held out by the first only": 1}
    assert np.isfinite(found.gaps).all()


def test_trainings_of_one_recipe_are_a_side(tmp_path: Path) -> None:
    a, _ = two_runs(tmp_path)
    runs = [a.folder]
    for seed in (1, 2):
        folder = tmp_path / f"seed{seed}"
        make_run(folder, LABELS, answers(LABELS, 1.0, seed + 5), recipe(f"train.seed={seed}"))
        runs.append(folder)
    found = pair(open_side(runs), open_side([tmp_path / "b"]))
    assert (found.losses_a.shape, found.losses_b.shape) == ((3, 40), (1, 40))
    np.testing.assert_allclose(found.gaps, found.losses_b[0] - found.losses_a.mean(axis=0))


def test_a_fold_that_only_some_trainings_have(tmp_path: Path) -> None:
    a, b = two_runs(tmp_path)
    how = recipe("train.seed=1")
    c = make_run(tmp_path / "c", LABELS, answers(LABELS, 1.0, 9), how, done=("1",))
    held_out = Predictions.load(c.model_folder("1") / "oof.parquet").ids
    found = pair(open_side([a.folder, c.folder]), open_side([b.folder]))
    assert set(found.ids) == set(held_out)
    num = 40 - len(held_out)
    assert found.left_out == {
        "held out by the second only": num,
        "held out by some trainings of a side only": num,
    }


def test_a_blend_is_a_side(tmp_path: Path) -> None:
    a, b = two_runs(tmp_path)
    folder = tmp_path / "blend"
    member = Member(str(a.folder), a.fingerprint, ("plain",), (1.0,))
    Blend(a.labels.names, (), (member,), "log", 1.0, None, ()).save(folder)
    rewritten = replace(Predictions.load(b.predictions_path), run="", folds=None)
    rewritten.save(folder / "oof.parquet")
    sides = open_side([a.folder]), open_side([folder])
    assert len(pair(*sides).ids) == 40
    assert sides[1].manifest is not None
    assert known_differences(*sides) == (f"{folder} is a blend of 'a'",)
    for path in tmp_path.glob("a/*.json"):
        path.unlink()
    assert open_side([folder]).manifest is None


def test_what_is_known_to_differ(tmp_path: Path) -> None:
    a, b = two_runs(tmp_path)
    sides = open_side([a.folder]), open_side([b.folder])
    assert known_differences(*sides) == ("recipe       optim.lr: 0.004 -> 0.5",)
    assert known_differences(sides[0], sides[0]) == (
        "nothing in recipe, data, first weights and teacher differs",
    )


def test_runs_that_are_no_trainings_of_one_recipe(tmp_path: Path) -> None:
    a, b = two_runs(tmp_path)
    with pytest.raises(RunError, match=r"they differ in 'optim\.lr'\. Runs of a side may differ"):
        open_side([a.folder, b.folder])
    labels = [NAMES[1], *LABELS[1:]]
    c = make_run(tmp_path / "c", labels, answers(labels, 1.0), recipe("train.seed=5"))
    with pytest.raises(RunError, match="they differ in their data, first weights or teacher"):
        open_side([a.folder, c.folder])


def test_another_teacher_is_another_recipe(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", LABELS, answers(LABELS, 1.0))
    b = make_run(tmp_path / "b", LABELS, answers(LABELS, 2.0), recipe("train.seed=5"))
    taught = [
        replace(run, record=run.record.model_copy(update={"teacher_fingerprint": name}))
        for run, name in ((a, "aaaa"), (b, "bbbb"))
    ]
    sides = [replace(open_side([run.folder]), runs=(run,)) for run in taught]
    assert "teacher      fingerprint: aaaa -> bbbb" in known_differences(*sides)
    with pytest.raises(RunError, match="first weights or teacher"):
        replace(sides[0], runs=tuple(taught))


def test_classes_that_are_equal_by_way_of_an_unknown_one(tmp_path: Path) -> None:
    a, _ = two_runs(tmp_path)
    table = Predictions.load(a.predictions_path)
    without(table, NAMES[1], tmp_path / "fewer.parquet")
    chain = ((NAMES[0], NAMES[1]), (NAMES[1], NAMES[2]))
    sides = [replace(open_side([p]), equal=chain) for p in (a.folder, tmp_path / "fewer.parquet")]
    found = pair(*sides)
    assert found.right_a.all()
    assert found.right_b.all()
    np.testing.assert_allclose(found.gaps, 0, atol=1e-6)


def test_one_training_twice_has_no_spread(tmp_path: Path) -> None:
    a, b = two_runs(tmp_path)
    with pytest.raises(PredictionsError, match="one training twice"):
        pair(open_side([a.folder, a.folder]), open_side([b.folder]))


def test_sides_without_a_photo_in_common(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", LABELS, answers(LABELS, 1.0), done=("0",))
    b = make_run(tmp_path / "b", LABELS, answers(LABELS, 1.0), done=("1",))
    with pytest.raises(PredictionsError, match="There is no photo to compare on: 20 held out by"):
        pair(open_side([a.folder]), open_side([b.folder]))


def test_what_cannot_be_a_side(tmp_path: Path) -> None:
    a, _ = two_runs(tmp_path)
    rewrite(a.predictions_path, labels=None)
    with pytest.raises(PredictionsError, match="holds predictions without answers, of kind 'oof'"):
        open_side([a.predictions_path])
    rewrite(a.predictions_path, kind="test")
    with pytest.raises(PredictionsError, match="holds predictions without answers"):
        open_side([a.predictions_path])
    empty = make_run(tmp_path / "empty", LABELS, answers(LABELS, 1.0), done=())
    with pytest.raises(RunError, match="no fold is trained"):
        open_side([empty.folder])
    with pytest.raises(RunError, match="is no run"):
        open_side([tmp_path])
    with pytest.raises(PredictionsError, match="no such file"):
        open_side([tmp_path / "x.parquet"])
