"""Blends of real runs: more views, one fit, one answer, and what is refused."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import chajong
from chajong.blending.blend import Blend, Member
from chajong.blending.make import check_members, make_blend
from chajong.errors import DataError, RunError
from chajong.experiments.notes import Note, add_note
from chajong.photos.layout import find_unlabelled
from chajong.pooling import normalised
from chajong.predictions import Predictions
from chajong.recipe_model import Data, Model
from chajong.run import Run
from chajong.training.blend import blend_runs
from chajong.training.infer import Eye
from chajong.training.look_again import asker, look_again
from chajong.training.predict import look, predict, predict_blend
from chajong.training.train import Options, train
from chajong.training.views import VIEWS as ALL_VIEWS
from tests.training.tiny import CPU, make_recipe, write_photos

VIEWS = ("flip", "plain", "zoom", "large")


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    shutil.copytree(finished.folder, tmp_path / "run")
    return Run.load(tmp_path / "run")


@pytest.fixture
def blend(run: Run, tmp_path: Path) -> Blend:
    return make_blend([run], [look_again(run, VIEWS)], 2, tmp_path / "blend")[0]


def test_views_are_of_the_model_that_did_not_learn_the_photo(run: Run) -> None:
    first, table = Predictions.load(run.predictions_path), look_again(run, VIEWS)
    assert table.views == VIEWS
    assert (table.ids, table.labels, table.folds) == (first.ids, first.labels, first.folds)
    np.testing.assert_array_equal(table.log_probs[:, [1, 0]], first.log_probs)
    manifest = run.manifest()
    paths = dict(zip(manifest.table["id"], manifest.table["path"], strict=True))
    assert table.folds is not None
    for row in (0, 20):
        refs = find_unlabelled(manifest.path_of(paths[table.ids[row]]))
        _, alone = look(run, (str(table.folds[row]),), refs, VIEWS, "log", CPU)
        np.testing.assert_allclose(alone[0], table.log_probs[row], atol=1e-4)


def test_what_was_looked_at_is_remembered(run: Run) -> None:
    table = look_again(run, VIEWS)
    stamps = [path.stat().st_mtime_ns for path in sorted(run.folder.glob("fold-*/views.parquet"))]
    assert len(stamps) == 2
    again = look_again(run, VIEWS[:3])
    np.testing.assert_array_equal(again.log_probs, table.log_probs[:, :3])
    now = [path.stat().st_mtime_ns for path in sorted(run.folder.glob("fold-*/views.parquet"))]
    assert now == stamps


def test_a_fold_that_was_trained_again_looks_again(run: Run) -> None:
    look_again(run, VIEWS)
    path = run.model_folder("0") / "oof.parquet"
    table = Predictions.load(path)
    others = replace(table, log_probs=table.log_probs[:, :, ::-1].copy())
    others.save(path)  # as by another start of the same recipe
    found = look_again(run, table.views)
    rows = [found.ids.index(id_) for id_ in others.ids]
    np.testing.assert_array_equal(found.log_probs[rows], others.log_probs)


def test_views_of_a_size_that_the_network_does_not_take_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_photos(tmp_path / "photos", per_class=4)
    recipe = make_recipe(
        train_epochs=1, data=Data(size_px=160), model=Model(backbone="test_vit3", weights="none")
    )
    options = Options(out=tmp_path / "run", cache_folder=tmp_path / "cache", device=CPU)
    run = train(photos, recipe, options)
    assert run is not None
    made = blend_runs([run], tmp_path / "blend")
    others = set(ALL_VIEWS) - {"small", "large", "large_flip"}
    assert {view for _, view, _ in made.alone} == others
    assert "which leaves out 'small', 'large', 'large_flip'" in capsys.readouterr().err


def test_a_photo_that_is_gone_is_named(run: Run) -> None:
    manifest = run.manifest()
    path = manifest.path_of(manifest.table["path"][3])
    aside = path.with_suffix(".aside")
    path.rename(aside)
    try:
        with pytest.raises(DataError, match=r"1 photo\(s\) .* cannot be read any more"):
            look_again(run, VIEWS)
    finally:
        aside.rename(path)


def test_a_photo_that_is_another_now_is_named(run: Run) -> None:
    manifest = run.manifest()
    first, second = (manifest.path_of(path) for path in manifest.table["path"][:2])
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    try:
        with pytest.raises(DataError, match=r"1 photo\(s\) .* are no longer what they were"):
            look_again(run, VIEWS)
    finally:
        first.write_bytes(content)
    assert look_again(run, VIEWS).views == VIEWS


def test_a_blend_comes_back_from_its_folder(blend: Blend, tmp_path: Path) -> None:
    assert Blend.load(tmp_path / "blend") == blend
    nested = Predictions.load(tmp_path / "blend" / "oof.parquet")
    assert (nested.run, nested.kind, nested.views) == (blend.fingerprint, "oof", ("blend",))
    assert sum(one.chosen for one in blend.candidates) == 1
    assert json.loads((tmp_path / "blend" / "score.json").read_text("utf-8"))["log_loss"]
    heading, *rows = blend.lines()
    assert heading.split() == ["method", "log", "loss", "worse", "by", "looks", "what", "it", "is"]
    rows = rows[: len(blend.candidates)]
    starred = [row.split() for row in rows if row.startswith("*")]
    chosen = next(one for one in blend.candidates if one.chosen)
    gap = f"{chosen.gap:.4f}±{chosen.gap_error:.4f}" if chosen.gap else "best"
    wanted = ["*", chosen.method, f"{chosen.log_loss:.4f}", gap, str(chosen.num_looks)]
    assert [row[:5] for row in starred] == [wanted]
    [member] = blend.members
    said = [f"{name} {share:.3f}" for name, share in zip(member.views, member.weights, strict=True)]
    assert f"{member.run}: {', '.join(said)}" in list(blend.lines())


def test_it_is_the_same_each_time(run: Run, blend: Blend, tmp_path: Path) -> None:
    again, _ = make_blend([run], [look_again(run, VIEWS)], 2, tmp_path / "again")
    assert again.fingerprint == blend.fingerprint
    first, second = (
        Predictions.load(tmp_path / name / "oof.parquet") for name in ("blend", "again")
    )
    np.testing.assert_array_equal(first.log_probs, second.log_probs)


@pytest.fixture
def other(run: Run, tmp_path: Path) -> Run:
    """Another training on the same photos, which knows less."""
    short = run.recipe.train.model_copy(update={"seed": 7, "epochs": 1})
    options = Options(out=tmp_path / "other", cache_folder=tmp_path / "cache", device=CPU)
    recipe = run.recipe.model_copy(update={"train": short})
    made = train(run.manifest().root, recipe, options)
    assert made is not None
    return made


def test_each_of_two_runs_has_its_own_say(run: Run, other: Run, tmp_path: Path) -> None:
    photos, pair = run.manifest().root, (run, other)
    tables = [look_again(each, VIEWS[:2]) for each in pair]
    made, _ = make_blend(pair, tables, 2, tmp_path / "blend")
    shares = (0.8, 0.2)
    members = tuple(
        Member(str(each.folder), each.fingerprint, ("plain", "flip"), (share / 2, share / 2))
        for each, share in zip(pair, shares, strict=True)
    )
    uneven = replace(made, members=members, pooling="log", temperature=1.0, vector=None)
    said = [np.log(predict(each, photos, CPU).probabilities()).astype(np.float32) for each in pair]
    assert np.abs(said[0] - said[1]).max() > 0.1
    wanted = normalised(shares[0] * said[0] + shares[1] * said[1])
    found = predict_blend(uneven, photos, CPU).log_probs[:, 0]
    np.testing.assert_allclose(np.exp(found), np.exp(wanted), atol=1e-5)


def test_weights_are_of_the_run_that_earned_them(run: Run, other: Run, tmp_path: Path) -> None:
    good, bad = (look_again(each, VIEWS[:2]) for each in (run, other))
    bad = replace(bad, log_probs=bad.log_probs[:, :, ::-1].copy())
    pairs = [(run, good), (other, bad)]
    for name, order in (("one", pairs), ("two", pairs[::-1])):
        runs, tables = [run for run, _ in order], [table for _, table in order]
        made, _ = make_blend(runs, tables, 2, tmp_path / name)
        weights = {Path(member.run).name: sum(member.weights) for member in made.members}
        assert weights["run"] > 0.9
        assert weights.get("other", 0) < 0.1


def test_a_blend_predicts_what_its_members_say(run: Run, blend: Blend) -> None:
    photos = run.manifest().root
    one = replace(
        blend,
        members=(replace(blend.members[0], views=("plain", "flip"), weights=(0.5, 0.5)),),
        pooling="log",
        temperature=1.0,
        vector=None,
    )
    usual, blended = predict(run, photos, CPU), predict_blend(one, photos, CPU)
    assert (blended.ids, blended.statuses) == (usual.ids, usual.statuses)
    np.testing.assert_allclose(blended.probabilities(), usual.probabilities(), atol=1e-5)
    hot = predict_blend(replace(one, temperature=2.0), photos, CPU)
    halved = normalised(blended.log_probs[:, 0] / np.float32(2))
    np.testing.assert_allclose(hot.log_probs[:, 0], halved, atol=1e-5)


def test_each_view_is_prepared_once_for_all_models(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[str] = []
    prepare = Eye.prepare

    def counting(eye: Eye, photos: torch.Tensor, view: str) -> torch.Tensor:
        prepared.append(view)
        return prepare(eye, photos, view)

    monkeypatch.setattr(Eye, "prepare", counting)
    new = write_photos(tmp_path / "new", side_px=40)
    assert len(asker(new, [run])(run, VIEWS)) == len(run.done) == 2
    assert tuple(prepared) == VIEWS
    predict(run, run.manifest().root, CPU)
    assert tuple(prepared) == (*VIEWS, *run.recipe.infer.views)


def test_photos_without_labels_calibrate_the_mean(run: Run, tmp_path: Path) -> None:
    table, photos = look_again(run, VIEWS), write_photos(tmp_path / "new", side_px=40)
    ask = asker(photos, [run])
    said = ask(run, ("plain", "flip"))
    for place, name in enumerate(run.done):
        refs = find_unlabelled(photos)
        alone = look(run, (name,), refs, ("plain", "flip"), "log", CPU)[1]
        np.testing.assert_allclose(said[place], alone, atol=1e-4)
    made, _ = make_blend([run], [table], 1, tmp_path / "with", ask)
    mean = made.averaging
    assert mean is not None
    assert (mean.num_models, mean.num_photos) == (2, len(find_unlabelled(photos)))
    assert made.fitted.temperature == mean.temperature
    assert {one.method for one in made.candidates}.isdisjoint(
        {"greedy-linear", "convex-linear", "vector"}
    )
    assert Blend.load(tmp_path / "with") == made


def test_photos_that_were_learned_calibrate_nothing(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Models are sure of them: their mean would seem to cost next to nothing.
    with pytest.raises(DataError, match="holds 0 photos that no model learned"):
        blend_runs([run], tmp_path / "blend", photos=run.manifest().root)
    assert not list(run.folder.glob("fold-*/views.parquet"))  # told before anything is looked at
    both = write_photos(shutil.copytree(run.manifest().root, tmp_path / "both") / "new", side_px=40)
    capsys.readouterr()
    said = asker(both.parent, [run])(run, ("plain",))
    assert ": 36 photos were learned from and are left out" in capsys.readouterr().err
    np.testing.assert_array_equal(said, asker(both, [run])(run, ("plain",)))
    # As many others are asked about as if no learned ones lay beside them.
    monkeypatch.setattr("chajong.training.look_again._MOST_ASKED", 24)
    assert asker(both.parent, [run])(run, ("plain",)).shape[1] == 24


def test_few_photos_that_can_be_read_calibrate_nothing(run: Run, tmp_path: Path) -> None:
    new = write_photos(tmp_path / "new", side_px=40)
    for path in sorted(new.rglob("*.jpg"))[19:]:
        path.write_bytes(b"no photo")
    tables = [look_again(run, VIEWS)]
    with pytest.raises(DataError, match="--photos 19 can be read"):
        make_blend([run], tables, 1, tmp_path / "blend", asker(new, [run]))


def test_a_bad_photo_has_a_status_and_no_answer(blend: Blend, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "a.jpg").write_bytes(b"no photo")
    found = predict_blend(blend, tmp_path / "some", CPU)
    assert found.statuses[0].startswith("unreadable: ")
    assert np.isnan(found.log_probs).all()


def test_a_run_that_changed_is_refused(blend: Blend, tmp_path: Path) -> None:
    other = replace(blend, members=(replace(blend.members[0], fingerprint="0" * 16),))
    with pytest.raises(RunError, match="not the one that was blended"):
        predict_blend(other, Run.load(Path(blend.members[0].run)).manifest().root, CPU)
    run = Run.load(Path(blend.members[0].run))
    table = Predictions.load(run.predictions_path)
    before = run.predictions_path.read_bytes()
    replace(table, log_probs=table.log_probs[:, :, ::-1].copy()).save(run.predictions_path)
    with pytest.raises(RunError, match="trained again"):
        predict_blend(blend, run.manifest().root, CPU)
    run.predictions_path.write_bytes(before)
    gone = replace(blend, members=(replace(blend.members[0], run=str(tmp_path / "gone")),))
    with pytest.raises(RunError, match="gone' of this blend is not there any more"):
        predict_blend(gone, run.manifest().root, CPU)
    # Its report would show what another network sees.
    other.save(tmp_path / "blend")
    with pytest.raises(RunError, match="not the one that was blended"):
        chajong.report(tmp_path / "blend")


def test_a_run_gives_no_way_to_a_blend(run: Run) -> None:
    before = run.predictions_path.read_bytes()
    with pytest.raises(RunError, match="holds a run, which a blend would overwrite"):
        blend_runs([run], run.folder)
    assert run.predictions_path.read_bytes() == before


def test_a_blend_with_a_leaderboard_score_gives_no_way_to_another(
    run: Run, blend: Blend, tmp_path: Path
) -> None:
    add_note(tmp_path / "blend", Note("2026-01-31T09:00:00+00:00", "", board=0.5))
    with pytest.raises(
        RunError, match=r"with 1 note\(s\) on record, such as its leaderboard score"
    ):
        blend_runs([run], tmp_path / "blend", budget=1)
    assert Blend.load(tmp_path / "blend") == blend


def test_a_blend_that_is_stopped_while_it_is_written_is_none(
    run: Run, blend: Blend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    assert Blend.load(tmp_path / "blend").fingerprint == blend.fingerprint
    tables = [look_again(run, VIEWS)]
    monkeypatch.setattr(Predictions, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        make_blend([run], tables, 1, tmp_path / "blend")
    assert not Blend.is_in(tmp_path / "blend")


def test_members_that_do_not_agree_are_refused_before_they_look(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="each run once"):
        blend_runs([run, run], tmp_path / "b")
    assert not list(run.folder.glob("fold-*/views.parquet"))


def test_members_must_agree(run: Run, tmp_path: Path) -> None:
    table = look_again(run, VIEWS)
    with pytest.raises(RunError, match="each run once"):
        make_blend([run, run], [table, table], 2, tmp_path / "b")
    record = run.record.model_copy(update={"data_fingerprint": "1" * 16})
    other = replace(run, record=record)
    fewer = replace(
        table,
        ids=table.ids[1:],
        statuses=table.statuses[1:],
        log_probs=table.log_probs[1:],
        labels=(table.labels or ())[1:],
        folds=(table.folds or ())[1:],
    )
    with pytest.raises(RunError, match="different photos"):
        make_blend([run, other], [table, fewer], 2, tmp_path / "b")
    # Names of groups mean nothing, but what they hold does.
    shutil.copytree(run.folder, tmp_path / "other")
    manifest = run.manifest()
    for groups, agree in ((pl.col("group") + 7, True), (pl.col("group") // 2, False)):
        again = replace(manifest, table=manifest.table.with_columns(group=groups))
        again.save(tmp_path / "other")
        other = replace(run, folder=tmp_path / "other", record=record)
        with nullcontext() if agree else pytest.raises(RunError, match="for near-duplicates"):
            check_members([run, other], [table, table])
    assert not (tmp_path / "b").exists()


def test_a_run_without_held_out_photos_is_refused(run: Run) -> None:
    record = run.record.model_copy(update={"models": ("all",)})
    with pytest.raises(RunError, match="that learned from every photo"):
        look_again(replace(run, record=record), VIEWS)
    (run.model_folder("1") / "done.json").unlink()
    with pytest.raises(RunError, match="Only 1 of 2 folds"):
        look_again(run, VIEWS)


@pytest.mark.usefixtures("blend")
def test_damaged_and_newer_blends_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "blend" / "blend.json"
    saved = json.loads(path.read_text("utf-8"))
    for change, said in (
        ({"format": 99}, "newer version|format 99"),
        ({"pooling": "median"}, "pooling"),
        ({"members": []}, "needs members"),
    ):
        path.write_text(json.dumps({**saved, **change}), "utf-8")
        with pytest.raises(RunError, match=said):
            Blend.load(tmp_path / "blend")
    path.unlink()
    with pytest.raises(RunError, match="no blend"):
        Blend.load(tmp_path / "blend")
