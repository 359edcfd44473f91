"""The way from runs and photos to an expectation, with real trainings."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chajong.errors import DataError, PredictionsError, RunError
from chajong.labels import Labels
from chajong.photos.tone import AS_IT_IS, change_tone
from chajong.pooling import geometric_mean, merged
from chajong.predictions import Predictions
from chajong.recipe import Folds, Infer
from chajong.recipe_model import Data
from chajong.run import Run
from chajong.training.expect import expect, gather, mean_of_runs, toned
from chajong.training.predict import predict
from chajong.training.train import Options, train
from tests.training.processes import command
from tests.training.tiny import CPU, make_recipe, write_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("expect")


@pytest.fixture(scope="module")
def photos(folder: Path) -> Path:
    """Photos of three classes, some of them copied."""
    made = write_photos(folder / "photos", per_class=16)
    for path in sorted(made.rglob("*.jpg"))[::5]:
        with Image.open(path) as image:
            image.save(path.with_name(f"copy-{path.name}"), quality=80)
    return made


@pytest.fixture(scope="module")
def run(folder: Path, photos: Path) -> Run:
    recipe = make_recipe(train_keep="best")
    made = train(photos, recipe, Options(out=folder / "run", device=CPU))
    assert made is not None
    return made


@pytest.fixture(scope="module")
def dark(folder: Path) -> Path:
    """Forty other photos in half the light, and a broken one."""
    made = write_photos(folder / "dark", per_class=14)
    curves = np.log(np.full((1, 2), (0.5, 1.0)))
    for path in made.rglob("*.jpg"):
        with Image.open(path) as image:
            shown = change_tone(np.asarray(image)[None], curves)[0]
        Image.fromarray(shown).save(path, quality=90)
    (made / "blue" / "broken.jpg").write_bytes(b"no photo")
    return made


def test_held_out_photos_are_asked_of_the_model_that_has_not_seen_them(
    run: Run, photos: Path
) -> None:
    found = gather([run], photos, CPU)  # the same light, so that they are asked as they are
    table = Predictions.load(run.predictions_path)
    assert found.change == AS_IT_IS
    np.testing.assert_allclose(np.exp(found.shifted), table.probabilities(), atol=1e-5)
    np.testing.assert_allclose(np.exp(found.plain), table.probabilities(), atol=1e-6)
    assert [run.labels.names[place] for place in found.truth] == list(table.labels or ())
    assert len(set(found.groups.tolist())) == 48 < len(found.groups)
    np.testing.assert_array_equal(found.measures, found.shifted_measures)
    assert found.num_learned == len(found.asked_measures)  # as is said: none of them is new


def test_held_out_photos_are_made_as_dark_as_those_asked_about(run: Run, dark: Path) -> None:
    found = gather([run], dark, CPU)
    here, shown, there = (
        x.mean(axis=0)[0] for x in (found.measures, found.shifted_measures, found.asked_measures)
    )
    assert there < 0.6 * here
    assert shown == pytest.approx(there, abs=0.02)
    assert np.exp(found.change.exposure) == pytest.approx(0.5, abs=0.1)
    assert not np.allclose(found.shifted, found.plain, atol=1e-2)
    assert (found.num_unreadable, found.num_learned) == (1, 0)
    # The mean of the models is what `predict` says of the photos.
    said = predict(run, dark, CPU)
    mean = np.exp(geometric_mean(found.asked))
    np.testing.assert_allclose(mean, said.probabilities()[said.ok], atol=1e-5)


def test_several_runs_are_judged_by_their_mean(folder: Path, run: Run, photos: Path) -> None:
    recipe = make_recipe(
        train_seed=2,
        folds=Folds(num_folds=3),
        data=Data(size_px=40),
        infer=Infer(views=("plain", "flip")),
    )
    second = train(photos, recipe, Options(out=folder / "second", device=CPU))
    assert second is not None
    both, first, other = (gather(runs, photos, CPU) for runs in ([run, second], [run], [second]))
    for name in ("plain", "shifted"):
        mean = geometric_mean(np.stack([getattr(first, name), getattr(other, name)]))
        np.testing.assert_allclose(np.exp(getattr(both, name)), np.exp(mean), atol=1e-5)
    # Two models of one and three of the other go together in six ways, whose mean is theirs.
    assert len(both.asked) == 6
    mean = geometric_mean(np.stack([geometric_mean(each.asked) for each in (first, other)]))
    np.testing.assert_allclose(np.exp(geometric_mean(both.asked)), np.exp(mean), atol=1e-5)
    assert expect([run, second], photos, CPU).num_models == 3
    table = Predictions.load(second.predictions_path)
    np.testing.assert_allclose(np.exp(other.shifted), table.probabilities(), atol=1e-5)


def test_equal_classes_are_one_before_a_mean_is_taken(run: Run, photos: Path) -> None:
    labels = Labels(run.labels.names, ((run.labels.names[0], run.labels.names[1]),))
    alike = replace(run, labels=labels)
    apart, found = gather([run], photos, CPU), gather([alike], photos, CPU)
    for name in ("plain", "shifted", "asked"):
        wanted = merged(getattr(apart, name), labels.canonical)
        np.testing.assert_allclose(getattr(found, name), wanted, atol=1e-5)
    np.testing.assert_array_equal(found.truth, np.array([0, 0, 1])[apart.truth])
    # Two runs, each sure of another one of the two, agree.
    sure = np.log(np.array([[[0.9, 0.02, 0.08]], [[0.02, 0.9, 0.08]]], np.float32))
    joined = mean_of_runs(list(sure), labels)
    np.testing.assert_allclose(np.exp(joined), [[0.92, 0.08]], atol=1e-6)


def test_the_command_says_and_writes_it(run: Run, dark: Path, tmp_path: Path) -> None:
    out = tmp_path / "said.json"
    code, said = command(
        ["expect", str(run.folder), "--test", str(dark), "--out", str(out)], tmp_path / "log"
    )
    assert code == 0, said
    assert "90 % interval" in said
    assert "1 photo(s) asked about cannot be read" in said
    assert "said when to stop, which flatters" in said
    kept = json.loads(out.read_text())
    assert f"{kept['value']:.4f}" in said
    assert kept["num_photos"] == 42
    assert kept["num_held_out"] == 48
    assert kept["low"] < kept["value"] < kept["high"]


def test_runs_that_tell_nothing_are_refused(run: Run, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="at least one"):
        expect([], photos)
    every = train(photos, make_recipe(), Options(out=tmp_path / "all", fold="all", device=CPU))
    assert every is not None
    with pytest.raises(RunError, match="that learned from every photo"):
        expect([every], photos)
    record = run.record.model_copy(update={"data_fingerprint": "other"})
    with pytest.raises(RunError, match="different photos"):
        expect([run, replace(run, record=record)], photos)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.jpg").write_bytes(b"")
    with pytest.raises(PredictionsError, match=r"20 to ask about. Got .* and 1\."):
        expect([run], tmp_path / "none")
    for number in range(20):
        (tmp_path / "none" / f"{number}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="can be read"):
        expect([run], tmp_path / "none")


def test_the_padding_of_letterboxed_photos_keeps_its_grey(run: Run) -> None:
    pixels = np.full((1, 4, 4, 3), 128, np.uint8)
    pixels[0, 1:3] = 200
    letterbox = run.recipe.model_copy(update={"data": Data(size_px=32, aspect="letterbox")})
    half = np.log([[0.5, 1.0]])
    found = toned(letterbox, pixels, half)
    assert (found[0, [0, 3]] == 128).all()
    assert (found[0, 1:3] == 100).all()
    assert (toned(run.recipe, pixels, half)[0, 0] == 64).all()
