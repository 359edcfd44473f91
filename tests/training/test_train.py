"""The whole job: from a folder of photos and a recipe to a finished run."""

import json
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from chajong.blending.make import make_blend
from chajong.cli import main
from chajong.corrections import Corrections, Decision
from chajong.errors import ChajongError, DataError, RecipeError, RunError, WeightsError
from chajong.held_out import whole_table
from chajong.manifest import Manifest
from chajong.predictions import Predictions
from chajong.recipe import Folds, Infer
from chajong.recipe_model import Data, Grow, Model
from chajong.record import now
from chajong.run import Run
from chajong.split import Split, split
from chajong.tracking.guard import Trackers
from chajong.training.model import Material
from chajong.training.train import Options, _prepare, _train_models, train
from tests.training.conftest import Job
from tests.training.processes import free_port
from tests.training.tiny import ALONE, CPU, make_recipe, write_photos


def options(folder: Path, **more: Any) -> Options:
    return Options(out=folder / "run", cache_folder=folder / "cache", device=CPU, **more)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", per_class=6)


def test_the_run_folder_holds_everything(finished: Run) -> None:
    assert finished.status() == "done"
    assert finished.done == ("0", "1")
    assert finished.record.num_photos == 36
    for fold in ("0", "1"):
        assert {path.name for path in finished.model_folder(fold).iterdir()} == {
            "done.json",
            "history.json",
            "oof.parquet",
            "steps.jsonl",
            "weights.ema.safetensors",
            "weights.raw.safetensors",
        }
        history = finished.history(fold)
        facts = json.loads((finished.model_folder(fold) / "done.json").read_text(encoding="utf-8"))
        assert facts["epochs"] == len(history)
        best = min(history, key=lambda entry: entry["log_loss"])
        assert facts["best_epoch"] == best["epoch"]
    assert finished.manifest().fingerprint == finished.record.data_fingerprint


def test_a_score_says_where_it_chose_the_epoch_itself(finished: Run, tmp_path: Path) -> None:
    assert any("said when to stop, which flatters" in line for line in finished.summary())
    recipes = [
        make_recipe(**{name: value})
        for name, value in (("train_keep", "last"), ("train_keep", "best"), ("train_patience", 3))
    ]
    assert [bool(replace(finished, recipe=recipe).caution) for recipe in recipes] == [
        False,
        True,
        True,
    ]
    _, nested = make_blend(
        [finished], [Predictions.load(finished.predictions_path)], 2, tmp_path / "blend"
    )
    assert nested.notes == finished.caution


def test_every_photo_is_answered_once_by_the_fold_that_did_not_see_it(finished: Run) -> None:
    table = Predictions.load(finished.predictions_path)
    folds = finished.split().table
    assert table.ids == tuple(folds["id"])
    assert table.folds == tuple(folds["fold"])
    photos = finished.manifest().table
    labels = dict(zip(photos["id"], photos["label"], strict=True))
    assert table.labels == tuple(labels[name] for name in table.ids)
    assert table.classes == finished.labels.names == ("blue", "green", "빨강")
    assert table.views == ("plain", "flip")
    assert table.kind == "oof"
    assert np.isfinite(table.log_probs).all()


def test_a_fold_learns_from_the_other_folds_only(uninterrupted: Job, finished: Run) -> None:
    manifest, table = finished.manifest(), finished.manifest().trainable()
    material = Material(finished, manifest, finished.split(), uninterrupted.cache)
    cache = material.cache()
    row_of = {name: cache.rows[sha] for name, sha in zip(table["id"], table["sha256"], strict=True)}
    label_of = dict(zip(table["id"], table["label"], strict=True))
    folds = finished.split()
    for number in ("0", "1"):
        fold = material.fold(number, cache)
        held_out = folds.table["fold"] == int(number)
        assert fold.validation is not None
        for part, chosen in ((fold.train, ~held_out), (fold.validation, held_out)):
            names = folds.table["id"].filter(chosen).to_list()
            assert part.rows.tolist() == [row_of[name] for name in names]
            assert [finished.labels.names[i] for i in part.targets] == [
                label_of[name] for name in names
            ]


def test_a_photo_that_is_excluded_leaves_the_cache_as_it_is(
    uninterrupted: Job, finished: Run
) -> None:
    manifest = finished.manifest()
    first = manifest.trainable()["id"][0]
    part = pl.when(pl.col("id") == first).then(pl.lit("excluded")).otherwise("part")
    without = replace(manifest, table=manifest.table.with_columns(part=part))
    caches = [
        Material(finished, each, None, uninterrupted.cache).cache() for each in (manifest, without)
    ]
    assert caches[1].rows == caches[0].rows


def test_two_processes_of_torchrun_make_the_same_run(uninterrupted: Job, job: Job) -> None:
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port()}")
    process = job.start("--track", "tensorboard", launcher=launcher)
    said, complained = process.communicate(timeout=240)
    assert process.returncode == 0, complained
    assert said.count("(done)") == 1  # one process speaks
    assert "Warning" not in complained
    (_,) = job.out.glob("tensorboard/fold-0/events*")  # and one tells the trackers
    alone, shared = Run.load(uninterrupted.out), Run.load(job.out)
    for fold in ("0", "1"):
        pairs = list(zip(alone.history(fold), shared.history(fold), strict=True))
        assert len(pairs) == 4
        for one, two in pairs:
            assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
            assert two["log_loss"] == pytest.approx(one["log_loss"], rel=5e-3)
    tables = [Predictions.load(run.predictions_path) for run in (alone, shared)]
    assert tables[0].ids == tables[1].ids  # each exactly once, as Predictions refuses repeats
    np.testing.assert_allclose(tables[1].log_probs, tables[0].log_probs, atol=0.02)


def test_one_model_of_all_photos(photos: Path, tmp_path: Path) -> None:
    recipe = make_recipe(train_epochs=2, train_patience=1)
    run = train(photos, recipe, options(tmp_path, fold="all"))
    assert run is not None
    assert run.done == ("all",)
    history = run.history("all")
    assert len(history) == 2
    assert "log_loss" not in history[0]
    assert {path.name for path in (run.folder / "all").iterdir()} == {
        "done.json",
        "history.json",
        "steps.jsonl",
        "weights.raw.safetensors",
    }
    assert run.score() is None
    with pytest.raises(RunError, match="different runs"):
        train(photos, recipe, options(tmp_path))


def test_a_class_without_a_photo_that_can_be_read(photos: Path, tmp_path: Path) -> None:
    for path in (photos / "green").iterdir():
        path.write_bytes(b"no photo")
    for fold in (None, "all"):
        with pytest.raises(DataError, match=r"1 of 3 classes have no photo .*: 'green'"):
            train(photos, make_recipe(), options(tmp_path, fold=fold))
    shutil.rmtree(photos / "green")
    shutil.rmtree(photos / "blue")
    for fold in (None, "all"):
        with pytest.raises(DataError, match=r"2 classes or more, but .* has only '빨강'"):
            train(photos, make_recipe(), options(tmp_path, fold=fold))


def test_other_folds_of_the_user_are_another_run(photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    table = pl.DataFrame({"path": map(str, paths), "label": [path.parent.name for path in paths]})
    for turned in (0, 1):
        folds = [(place + turned) % 2 for place in range(len(paths))]
        table.with_columns(fold=pl.Series(folds)).write_csv(tmp_path / "photos.csv")
        asked = options(tmp_path, fold=str(turned))
        if not turned:
            run = train(tmp_path / "photos.csv", make_recipe(train_epochs=1), asked)
            assert run is not None
            assert run.done == ("0",)
            continue
        with pytest.raises(RunError, match="groups or folds differ"):
            train(tmp_path / "photos.csv", make_recipe(train_epochs=1), asked)


def test_folds_stay_as_they_were_dealt(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(train_epochs=1)
    run = train(photos, recipe, options(tmp_path, fold="0"))
    assert run is not None

    def dealt_otherwise(manifest: Manifest, num_folds: int, seed: int) -> Split:
        made = split(manifest, num_folds, seed)
        return replace(made, table=made.table.with_columns(fold=1 - pl.col("fold")))

    monkeypatch.setattr("chajong.training.train.split", dealt_otherwise)
    assert train(photos, recipe, options(tmp_path)) is not None
    table = Predictions.load(run.predictions_path)
    assert table.folds == tuple(run.split().table["fold"])


def test_some_folds_only(photos: Path, tmp_path: Path) -> None:
    recipe = make_recipe(train_epochs=1, folds=Folds(num_folds=2, trained=(1,)))
    run = train(photos, recipe, options(tmp_path))
    assert run is not None
    assert run.status() == "done"
    assert Predictions.load(run.predictions_path).folds == (1,) * 9
    with pytest.raises(RunError, match="--fold 0"):
        train(photos, recipe, options(tmp_path, fold="0"))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"train_precision": "fp16"}, RecipeError, "'fp16' needs a GPU"),
        ({"model": Model(backbone="resnet_of_dreams")}, RecipeError, "model.backbone"),
        ({"model": Model(weights="missing.safetensors")}, WeightsError, "There is no file"),
        (
            {"model": Model(backbone="test_vit3", weights="none")},
            RecipeError,
            "takes no photos of 32 px: Input height",
        ),
        (
            {"data": Data(size_px=160, grow=(Grow(after=0.5, size_px=192),), eval_px=192),
             "model": Model(backbone="test_vit3", weights="none")},
            RecipeError,
            "takes no photos of 192 px",
        ),
        (
            {"data": Data(size_px=160), "infer": Infer(views=("plain", "small")), "model": Model(
                backbone="test_vit3", weights="none")},
            RecipeError,
            "takes no photos of 128 px: Input height.*infer.views",
        ),
        (
            {"model": Model(backbone="torchvision/mobilenet_v3_small", weights="none"),
             "optim_layer_decay": 0.9},
            RecipeError,
            "optim.layer_decay must be 1",
        ),
        (
            {"model": Model(backbone="convnextv2_atto.fcmae_ft_in1k")},
            WeightsError,
            "--allow-noncommercial",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told_before_any_work(
    changes: dict[str, Any], error: type[ChajongError], said: str, tmp_path: Path
) -> None:
    # There are no photos either, so that work would begin with another error.
    with pytest.raises(error, match=said):
        train(tmp_path / "nowhere", make_recipe(**changes), options(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_command_that_is_told_trains_the_rest(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(folds=Folds(num_folds=2), train_epochs=1)
    options = Options(out=tmp_path / "a run", fold="0", device=CPU, cache_folder=tmp_path / "c")
    run = train(photos, recipe, options)
    assert run is not None
    with pytest.raises(RunError) as told:
        whole_table(run)
    line = str(told.value).rpartition("with: ")[2]
    monkeypatch.setenv("CHAJONG_CACHE", str(tmp_path / "c"))
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit, match="0"):
        main()
    assert Run.load(run.folder).status() == "done"
    assert len(whole_table(Run.load(run.folder)).ids) == run.record.num_photos


def test_a_fold_that_is_not_there_is_refused(photos: Path, tmp_path: Path) -> None:
    for fold in ("7", "-1", "first"):
        with pytest.raises(RunError, match=r"0 to 1, or 'all'\. Got '"):
            train(photos, make_recipe(), options(tmp_path, fold=fold))


def test_a_photo_deleted_before_it_was_cached(photos: Path, tmp_path: Path) -> None:
    recipe, chosen = make_recipe(train_epochs=1), options(tmp_path)
    prepared = _prepare(photos, recipe, chosen, ALONE)
    victim = photos / "green" / "001.jpg"
    content = victim.read_bytes()
    victim.unlink()
    with pytest.raises(DataError, match=r"001\.jpg cannot be read any more: No such file"):
        _train_models(prepared, chosen, ALONE, Trackers())
    victim.write_bytes(content)
    assert train(photos, recipe, chosen) is not None  # nothing is lost


def test_a_photo_deleted_between_two_folds(job: Job, tmp_path: Path) -> None:
    job = replace(job, photos=shutil.copytree(job.photos, tmp_path / "copy"))
    assert job.run("--fold", "0")[0] == 0
    victim = next(job.photos.rglob("*.jpg"))
    content = victim.read_bytes()
    victim.unlink()
    code, said = job.run()
    assert code == 2
    assert said.splitlines()[-1].startswith("chajong: ")
    assert "holds a run of other data: 36 photos" in said
    assert "Traceback" not in said
    victim.write_bytes(content)
    code, said = job.run()
    assert code == 0
    assert "fold 0  epoch" not in said  # what was finished is not lost
    assert Run.load(job.out).status() == "done"


def test_a_run_folder_that_cannot_be_written(job: Job) -> None:
    (job.out.parent / "file").write_text("", encoding="utf-8")
    code, said = replace(job, out=job.out.parent / "file" / "run").run()
    assert code == 2
    assert said.splitlines()[-1].startswith("chajong: Could not write ")
    assert "choose another folder" in said
    assert "Traceback" not in said


def test_a_run_that_another_process_trains_now(finished: Run, uninterrupted: Job) -> None:
    with finished.alone():
        code, said = uninterrupted.run()
    assert code == 2
    assert "Another process is training" in said


def test_a_folder_of_something_else_stays_untouched(job: Job) -> None:
    job.out.mkdir()
    (job.out / "thesis.txt").write_text("years of work", encoding="utf-8")
    code, said = job.run()
    assert code == 2
    assert "is not empty and holds no run, but 'thesis.txt'" in said
    assert [path.name for path in job.out.iterdir()] == ["thesis.txt"]


def test_corrections_are_carried_out_first_and_recorded(tmp_path: Path, photos: Path) -> None:
    first = options(tmp_path)
    run = train(photos, make_recipe(train_epochs=1), first)
    assert run is not None
    ids = run.manifest().trainable()["id"].to_list()
    decisions = [
        Decision(ids[0], "exclude", None, "Kim", now()),
        Decision(ids[1], "relabel", run.labels.names[2], "Kim", now()),
    ]
    path = tmp_path / "corrections.csv"
    Corrections(tuple(decisions)).save(path)
    # Other labels are other data, so the old run is kept and refused.
    with pytest.raises(RunError, match="data"):
        train(photos, make_recipe(train_epochs=1), replace(first, corrections=path))
    second = replace(first, out=tmp_path / "second", corrections=path)
    corrected = train(photos, make_recipe(train_epochs=1), second)
    assert corrected is not None
    assert corrected.record.corrected == "1 excluded, 1 relabelled, 0 kept"
    assert corrected.record.corrections == Corrections(tuple(decisions)).fingerprint
    table = Predictions.load(corrected.predictions_path)
    assert ids[0] not in table.ids
    assert table.truth()[ids[1]] == run.labels.names[2]
    issues = corrected.manifest().issues.filter(pl.col("id").is_in(ids[:2]))["issue"]
    assert {"excluded", "relabelled"} <= set(issues)
    # Nothing was done to the photos.
    assert all(run.manifest().path_of(path).is_file() for path in run.manifest().table["path"])
