"""Soft targets from the catalogue and from teachers, and students from photos to the end."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from chajong.blending.make import make_blend
from chajong.errors import RecipeError, RunError
from chajong.labels import Labels
from chajong.predictions import Predictions
from chajong.progress import Interrupted
from chajong.recipe import Folds, Infer, Recipe
from chajong.recipe_model import Data, Model
from chajong.recipe_train import Distil, Mix, Taxonomy
from chajong.recipes import RECIPES
from chajong.run import Run
from chajong.training.distil import (
    fingerprint_of,
    load_teacher,
    networks_of,
    out_of_fold,
    relatives,
    soft_targets,
)
from chajong.training.infer import Eye
from chajong.training.look_again import look_again
from chajong.training.rerun import rerun
from chajong.training.teacher import Teacher
from chajong.training.train import Options, train
from chajong.training.weights import build_network
from tests.training.test_going_on import ringing
from tests.training.tiny import (
    CPU,
    MEAN,
    NUM_CLASSES,
    STD,
    assert_same_weights,
    final,
    make_fit,
    make_recipe,
    write_photos,
)

CARS = Labels.of(
    [
        "Audi_A5_Coupe_2012",
        "Audi_TT_Hatchback_2011",
        "Audi_TT_Coupe_2012",
        "Fiat_500_2012",
        "odd",
    ]
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("distil") / "photos", per_class=8)


def test_an_online_teacher_of_one_size_is_refused_before_any_work(
    photos: Path, tmp_path: Path
) -> None:
    vit = Model(backbone="test_vit3", weights="none")
    taught = make_recipe(model=vit, data=Data(size_px=160), train_epochs=1)
    run = train(photos, taught, Options(out=tmp_path / "vit", cache_folder=tmp_path / "cache"))
    assert run is not None
    options = Options(out=tmp_path / "out", teacher=run.folder, cache_folder=tmp_path / "cache")
    said = r"The teacher .*vit \('test_vit3'\) takes no photos of 32 px: Input height"
    with pytest.raises(RecipeError, match=said):
        train(photos, make_recipe(distil=Distil(online=True)), options)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def taught(photos: Path) -> Run:
    """A teacher of two folds."""
    recipe = make_recipe(folds=Folds(num_folds=2), infer=Infer(views=("plain", "flip")))
    made = train(photos, recipe, Options(out=photos.parent / "teacher", device=CPU))
    assert made is not None
    return made


def student(**changes: Any) -> Recipe:
    values = {"distil": Distil(alpha=0.6, temperature=2.0), "train_epochs": 2, **changes}
    return make_recipe(folds=Folds(num_folds=2), **values)


def learn(photos: Path, teacher: Path, out: Path, recipe: Recipe, **more: Any) -> Run:
    made = train(photos, recipe, Options(out=out, device=CPU, teacher=teacher, **more))
    assert made is not None
    return made


# Relatives


def test_relatives_get_their_shares_and_strangers_none() -> None:
    found = relatives(CARS, Taxonomy(generation=0.1, model=0.06, maker=0.04))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    a5, tt, rs, fiat, odd = range(5)
    assert found[odd].tolist() == [0, 0, 0, 0, 1]
    assert found[fiat, fiat] == 1  # no other of its maker is a class here
    # Of one model and one maker; their generations are not known.
    np.testing.assert_allclose(found[tt], [0.02, 0.9, 0.08, 0, 0])
    np.testing.assert_allclose(found[rs], [0.02, 0.08, 0.9, 0, 0])
    np.testing.assert_allclose(found[a5], [0.96, 0.02, 0.02, 0, 0])


def test_a_generation_is_shared_before_and_after_a_facelift() -> None:
    labels = Labels.of(["아반떼_MD_2011_2014", "더_뉴_아반떼_MD_2014_2016", "쏘나타_2020"])
    found = relatives(labels, Taxonomy(generation=0.2))
    names = labels.names
    rows = [names.index(name) for name in ("아반떼_MD_2011_2014", "더_뉴_아반떼_MD_2014_2016")]
    assert found[np.ix_(rows, rows)].tolist() == [[0.8, 0.2], [0.2, 0.8]]


def test_relatives_reach_the_loss(tmp_path: Path) -> None:
    fit = make_fit(tmp_path, make_recipe())
    soft = np.array([[0.8, 0.2, 0], [0.2, 0.8, 0], [0, 0, 1]], np.float32)[fit.fold.train.targets]
    object.__setattr__(fit.batches, "examples", replace(fit.fold.train, soft=soft))
    x, targets = fit.see(0, *fit.batches.load(0, 0), size_px=32)
    order = np.random.default_rng([1, 0, 0]).permutation(24)[:8]
    torch.testing.assert_close(targets, torch.from_numpy(soft[order]))
    assert x.shape == (8, 3, 32, 32)


# What a teacher's table says


def test_targets_are_mixed_with_what_the_teacher_said() -> None:
    said = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    labels = Labels.of(["a", "b", "c"])
    distil = Distil(alpha=0.75, temperature=2.0)
    found = soft_targets(np.array([0, 1]), labels, None, distil, said)
    assert found is not None
    for row, (label, probs) in enumerate(zip((0, 1), said, strict=True)):
        softer = np.sqrt(probs) / np.sqrt(probs).sum()
        np.testing.assert_allclose(found[row], 0.25 * np.eye(3)[label] + 0.75 * softer, rtol=1e-6)
    assert found.dtype == np.float32
    assert soft_targets(np.array([0, 1]), labels, None) is None
    # However cold: a row that would vanish whole is its likeliest class, and no class may be zero.
    cold = Distil(alpha=1.0, temperature=0.001)
    said = np.array([[0.4, 0.3, 0.3], [0, 1, 0]])
    found = soft_targets(np.array([0, 1]), labels, None, cold, said)
    assert found is not None
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 1, 0]])


def test_the_table_is_read_by_photo(taught: Run) -> None:
    table = Predictions.load(taught.predictions_path)
    ids = list(table.ids)[::-1][:5]
    found = out_of_fold(taught.folder, ids, taught.labels)
    np.testing.assert_array_equal(found, table.probabilities()[::-1][:5])


def test_a_table_that_does_not_know_a_photo_is_refused(taught: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="1 of 2 training photos are not in it"):
        out_of_fold(taught.folder, [taught.split().table["id"][0], "new.jpg"], taught.labels)
    with pytest.raises(RunError, match="its classes are others"):
        out_of_fold(taught.folder, [], Labels.of(["a", "b"]))
    with pytest.raises(RunError, match="has no out-of-fold table"):
        out_of_fold(tmp_path, [], taught.labels)


# What a teacher says of the same pixels


def an_eye(seed: int, mean: tuple[float, float, float] = MEAN, temperature: float = 1.0) -> Eye:
    torch.manual_seed(seed)
    network, _ = build_network(make_recipe().model, NUM_CLASSES)
    return Eye(network, CPU, "fp32", mean, STD, temperature)


def test_the_targets_are_the_geometric_mean_of_the_networks() -> None:
    eyes = (an_eye(1, temperature=0.5), an_eye(2))
    x = torch.randn(4, 3, 32, 32)
    hard = functional.one_hot(torch.tensor([0, 1, 2, 0]), 3).float()
    found = Teacher(eyes, Distil(alpha=0.7, temperature=1.5), MEAN, STD).teach(x, hard)
    logs = [(e.network.eval()(x) / e.temperature).log_softmax(1) for e in eyes]
    wanted = ((logs[0] + logs[1]) / 2 / 1.5).softmax(1)
    torch.testing.assert_close(found, 0.3 * hard + 0.7 * wanted)
    assert not found.requires_grad


def test_a_teacher_sees_the_pixels_as_it_was_trained_to() -> None:
    x = torch.randn(4, 3, 32, 32)
    hard = torch.zeros(4, 3)
    other = (0.4, 0.45, 0.6)
    own = Teacher((an_eye(1, other),), Distil(alpha=1.0), other, STD)
    theirs = Teacher((an_eye(1, other),), Distil(alpha=1.0), MEAN, STD)
    shifted = (x * torch.tensor(STD).view(3, 1, 1)) + torch.tensor(MEAN).view(3, 1, 1)
    as_own = (shifted - torch.tensor(other).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(theirs.teach(x, hard), own.teach(as_own, hard), atol=1e-4, rtol=1e-4)


def test_the_gradient_is_that_of_the_divergence_from_the_teacher(tmp_path: Path) -> None:
    eye = an_eye(3)
    teacher = Teacher((eye,), Distil(alpha=1.0, online=True), MEAN, STD)
    fit = make_fit(tmp_path, make_recipe(mix=Mix(cutmix=1.0)), teacher=teacher)
    fit.network.eval()
    x, soft = fit.see(0, *fit.batches.load(0, 0), size_px=32)
    assert (soft.amax(dim=1) < 1).any()  # mixed batches are taught too
    fit.learn(fit.network, 0, x, soft)
    layer: Any = fit.network.get_submodule("fc")
    found = layer.weight.grad
    fit.optimiser.zero_grad()
    student_says = fit.network(x).log_softmax(1)
    teacher_says = eye.network.eval()(x).softmax(1).detach()
    divergence = functional.kl_div(student_says, teacher_says, reduction="batchmean")
    (wanted,) = torch.autograd.grad(divergence, layer.weight)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)


def test_a_taught_training_goes_on_bit_by_bit(tmp_path: Path) -> None:
    def fit(folder: str, **more: Any) -> Any:
        teacher = Teacher((an_eye(3),), Distil(online=True), MEAN, STD)
        recipe = make_recipe(mix=Mix(cutmix=1.0))
        return make_fit(tmp_path / folder, recipe, teacher=teacher, **more)

    wanted = final(fit("whole"))
    with pytest.raises(Interrupted):
        ringing(fit("parts"), 5).run()
    found = final(fit("parts"))
    assert found[0] == wanted[0]
    assert_same_weights(found[1], wanted[1])


# From photos to a student


@pytest.mark.parametrize("online", [False, True])
def test_a_student_knows_its_teacher(
    photos: Path, taught: Run, tmp_path: Path, online: bool
) -> None:
    recipe = student(distil=Distil(alpha=0.6, online=online))
    run = learn(photos, taught.folder, tmp_path / "run", recipe)
    record = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    assert record["teacher"] == str(taught.folder)
    assert record["teacher_fingerprint"] == fingerprint_of(taught)
    assert run.done == ("0", "1")
    assert run.fingerprint != replace_teacher(run, "another").fingerprint
    # The same command finds all of it done; another teacher is refused.
    learn(photos, taught.folder, tmp_path / "run", recipe)
    other = tmp_path / "other"
    shutil.copytree(taught.folder, other)
    record = json.loads((other / "run.json").read_text(encoding="utf-8"))
    (other / "run.json").write_text(json.dumps({**record, "teacher_fingerprint": "x"}))
    with pytest.raises(RunError, match="was taught by"):
        learn(photos, other, tmp_path / "run", recipe)
    # So is the same one trained anew, which says something else.
    shutil.rmtree(other)
    anew = Run.load(shutil.copytree(taught.folder, other))
    table = Predictions.load(anew.predictions_path)
    replace(table, log_probs=table.log_probs[:, :, ::-1]).save(anew.predictions_path)
    assert anew.fingerprint == taught.fingerprint
    with pytest.raises(RunError, match="or was trained anew"):
        learn(photos, other, tmp_path / "run", recipe)


def replace_teacher(run: Run, fingerprint: str) -> Run:
    return replace(run, record=run.record.model_copy(update={"teacher_fingerprint": fingerprint}))


def test_a_blend_teaches_one_model_of_every_photo(
    photos: Path, taught: Run, tmp_path: Path
) -> None:
    views = look_again(taught, ("plain", "flip"))
    blend, _ = make_blend([taught], [views], 2, tmp_path / "blend")
    for online in (False, True):
        recipe = student(distil=Distil(online=online))
        out = tmp_path / f"all-{online}"
        run = learn(photos, tmp_path / "blend", out, recipe, fold="all")
        assert run.record.teacher_fingerprint == fingerprint_of(blend)
        assert run.done == ("all",)
    before = fingerprint_of(run)
    (weights,) = (run.folder / "all").glob("weights.*")
    weights.write_bytes(weights.read_bytes() + b"x")
    assert fingerprint_of(run) != before
    eyes = networks_of(load_teacher(tmp_path / "blend"), taught.labels, None, "all", CPU)
    assert len(eyes) == 2


def test_a_fold_is_taught_by_networks_that_left_it_out_too(
    photos: Path, taught: Run, tmp_path: Path
) -> None:
    (eye,) = networks_of(taught, taught.labels, taught.split(), "1", CPU)
    x = torch.zeros(1, 3, 32, 32)
    found = eye.network.eval()(x)
    from chajong.training.predict import open_eye

    assert torch.equal(found, open_eye(taught, "1", CPU).network.eval()(x))
    recipe = student(distil=Distil(online=True)).model_copy(
        update={"folds": Folds(num_folds=2, seed=7)}
    )
    with pytest.raises(RunError, match="must be trained with the same folds"):
        learn(photos, taught.folder, tmp_path / "run", recipe)


def test_teacher_and_recipe_must_ask_for_each_other(
    photos: Path, taught: Run, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="say which run or blend with --teacher"):
        train(photos, student(), Options(out=tmp_path / "run", device=CPU))
    with pytest.raises(RecipeError, match="learns from no teacher: leave --teacher out"):
        learn(photos, taught.folder, tmp_path / "run", make_recipe())
    with pytest.raises(RunError, match="is no run"):
        learn(photos, tmp_path / "nothing", tmp_path / "run", student())
    assert not (tmp_path / "run").exists()


def test_a_student_is_trained_again_to_the_same_bit(
    photos: Path, taught: Run, tmp_path: Path
) -> None:
    run = learn(photos, taught.folder, tmp_path / "run", student())
    found = rerun(run, None, Options(out=tmp_path / "again", device=CPU))
    assert found is not None
    assert "bit" in " ".join(found.lines())
    # A teacher that is another by now is told of before the work.
    record = run.record.model_copy(update={"teacher_fingerprint": "0" * 16})
    with pytest.raises(RunError, match=r"learned from the teacher 0{16}; now .* Restore it"):
        rerun(replace(run, record=record), None, Options(out=tmp_path / "not", device=CPU))
    assert not (tmp_path / "not").exists()


def test_the_named_recipe_asks_for_a_teacher() -> None:
    recipe, base = RECIPES["cars-distilled"], RECIPES["cars-fast"]
    assert recipe.distil is not None
    # So that it serves at the same cost.
    assert (recipe.model, recipe.infer) == (base.model, base.infer)
    assert recipe.data.evaluation_px == base.data.evaluation_px
