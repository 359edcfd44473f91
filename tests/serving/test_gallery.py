"""What a bundle knows of the photos that were learned, and of those that are unlike them."""

import json
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import chajong
from chajong.bundle import Bundle
from chajong.errors import BundleError
from chajong.gallery import Gallery, unit
from chajong.pooling import Floats
from chajong.predictions import Predictions
from chajong.run import Run
from chajong.serving.engine import Engine, Looked
from chajong.serving.prune import pruned
from chajong.training.gallery import MOST_PER_CLASS, make_gallery
from chajong.training.predict import open_eye
from tests.serving.test_bundle import reseal


@pytest.fixture(scope="session")
def engine(exported: Bundle) -> Engine:
    return Engine.open(exported, "onnxruntime", "fp32")


def look(engine: Engine, paths: list[Path]) -> Looked:
    return engine.look([engine.prepare(path.read_bytes()) for path in paths])


def gallery_of(bundle: Bundle) -> Gallery:
    assert bundle.gallery is not None
    return bundle.gallery


def test_a_gallery_holds_some_photos_of_each_class_half_of_them_held_out(
    exported: Bundle, photos: Path
) -> None:
    gallery = gallery_of(exported)
    assert {gallery.names.count(name) for name in exported.labels.names} == {MOST_PER_CLASS}
    held = [gallery.names[place] for place in gallery.held_out]
    assert {held.count(name) for name in exported.labels.names} == {MOST_PER_CLASS // 2}
    assert all((photos / id_).is_file() for id_ in gallery.photos)  # ids count from the data


def test_there_is_no_photo_and_no_folder_of_a_machine_in_it(exported: Bundle, photos: Path) -> None:
    written = [path for path in (exported.folder / "gallery").rglob("*") if path.is_file()]
    assert {path.suffix for path in written} == {".json", ".npy"}
    assert not any(str(photos.parent).encode() in path.read_bytes() for path in written)
    assert gallery_of(exported).thumbnail(0) is None


def test_there_is_no_folder_of_this_machine_in_the_whole_bundle(exported: Bundle) -> None:
    # The graphs would name the files of torch and of chajong that their nodes come from.
    written = [path for path in exported.folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".onnx" for path in written)
    own = (str(Path(torch.__file__).parents[1]), str(Path(chajong.__file__).parents[1]))
    found = [path for path in written for name in own if name.encode() in path.read_bytes()]
    assert found == []


@pytest.mark.parametrize("num", [20, 100, 220])
def test_one_of_a_hundred_known_cars_is_strange_however_few_are_held_out(
    exported: Bundle, num: int
) -> None:
    rng, gallery = np.random.default_rng(0), gallery_of(exported)
    share = np.mean(
        [
            (
                replace(gallery, usual=np.sort(rng.normal(size=num))).ranks(rng.normal(size=200))
                >= 0.99
            ).mean()
            for _ in range(400)
        ]
    )
    # Of fewer than a hundred, the least that can be told from all others is one of them.
    assert share == pytest.approx(max(0.01, 1 / (num + 1)), rel=0.15)


def test_the_engine_sees_what_torch_saw(engine: Engine, photos: Path) -> None:
    gallery = gallery_of(engine.bundle)
    some = list(range(0, len(gallery.photos), 10))
    looked = look(engine, [photos / gallery.photos[place] for place in some])
    assert looked.embeddings is not None
    agree = (looked.embeddings * gallery.embeddings[some].astype(np.float32)).sum(axis=1)
    assert agree.min() > 0.9999
    np.testing.assert_array_equal(
        looked.log_probs,
        engine.answer([engine.prepare((photos / gallery.photos[p]).read_bytes()) for p in some]),
    )


def test_the_nearest_photo_of_a_photo_is_itself_and_the_next_are_of_its_class(
    engine: Engine, photos: Path
) -> None:
    gallery = gallery_of(engine.bundle)
    looked = look(engine, [photos / gallery.photos[7]])
    assert looked.embeddings is not None
    found = gallery.nearest(looked.embeddings[0], 5)
    assert (found[0].place, found[0].photo, found[0].name) == (
        7,
        gallery.photos[7],
        gallery.names[7],
    )
    assert found[0].similarity == pytest.approx(1, abs=1e-3)
    similar = [each.similarity for each in found]
    assert similar == sorted(similar, reverse=True)
    assert len(found) == 5


def test_strangeness_of_held_out_photos_is_their_rank(engine: Engine, photos: Path) -> None:
    gallery = gallery_of(engine.bundle)
    held = gallery.held_out
    found = gallery.strangeness(gallery.embeddings[held].astype(np.float32), gallery.log_probs)
    assert found is not None
    wanted = np.arange(len(held)) / len(held)
    np.testing.assert_allclose(np.sort(found), wanted, atol=0.07)  # float16 on file
    # The bundle's other networks have learned them, so that it is surer of them.
    looked = look(engine, [photos / gallery.photos[place] for place in held])
    assert looked.strangeness is not None
    assert looked.strangeness.mean() <= found.mean()


def test_far_from_the_gallery_and_unsure_is_strange(exported: Bundle) -> None:
    gallery = gallery_of(exported)
    near = gallery.embeddings[gallery.held_out[:1]].astype(np.float32)
    sure, torn = np.log([[0.98, 0.01, 0.01], [0.4, 0.3, 0.3]]).astype(np.float32)[:, None]
    usual, unsure, far = (
        float(gallery.scores(embedding, log_probs)[0])
        for embedding, log_probs in ((near, sure), (near, torn), (-near, sure))
    )
    assert unsure > usual
    assert far > usual


def test_among_equally_near_photos_is_stranger_than_beside_one_of_them(exported: Bundle) -> None:
    # Learned photos around one middle, all as far from it; nothing lies in it.
    angles = np.arange(12) * np.pi / 6
    learned = unit(np.stack([np.cos(angles), np.sin(angles), np.full(12, 2.0)], axis=1))
    names = ("blue",) * 12
    gallery = replace(
        gallery_of(exported),
        photos=names,
        names=names,
        embeddings=learned.astype(np.float16),
        held_out=np.zeros(0, np.intp),
        log_probs=np.zeros((0, 3), np.float32),
        scales=((0.0, 1.0),) * 3,  # no distance is unusual
    )
    between, beside = unit(np.array([[0, 0, 1.0], 0.3 * learned[0] + [0, 0, 1]]))[:, None]
    torn = np.log(np.full((1, 3), 1 / 3)).astype(np.float32)
    assert gallery.scores(between, torn)[0] > gallery.scores(beside, torn)[0] + 0.005


@pytest.fixture(scope="module")
def wide() -> tuple[Gallery, Floats]:
    """A gallery of 500 features in which photos vary along 40, and photos to ask about."""
    rng = np.random.default_rng(0)
    middles, spread = rng.normal(size=(30, 40)), np.linalg.qr(rng.normal(size=(500, 40)))[0]
    own = np.repeat(np.arange(30), 20)
    seen = middles[np.tile(own, 2)] + rng.normal(0, 0.7, (1200, 40))
    embeddings = unit(seen @ spread.T + rng.normal(0, 0.02, (1200, 500)))
    names = tuple(f"{place:02}" for place in own)
    held = np.flatnonzero(np.arange(600) % 4 == 0)
    flat = np.full((len(held), 30), -np.log(30), np.float32)
    asked, learned = embeddings[600:], embeddings[:600]
    made = Gallery(names, names, learned.astype(np.float16), held, flat, np.zeros(0))
    return made.calibrated(learned[held]), asked


def scores_of(gallery: Gallery, asked: Floats) -> NDArray[np.float64]:
    return gallery.scores(asked, np.full((len(asked), 30), -np.log(30), np.float32))


def test_a_few_axes_tell_what_all_features_do(wide: tuple[Gallery, Floats]) -> None:
    gallery, asked = wide
    assert gallery.axes is not None
    assert gallery.axes.shape == (500, 256)
    everything = replace(gallery, axes=None)
    few, all_ = scores_of(gallery, asked), scores_of(everything, asked)
    assert np.corrcoef(few, all_)[0, 1] > 0.995


def test_what_lies_off_the_axes_is_strange(wide: tuple[Gallery, Floats]) -> None:
    gallery, asked = wide
    assert gallery.axes is not None
    off = np.linalg.qr(gallery.axes.astype(np.float64), mode="complete")[0][:, -1]
    assert (scores_of(gallery, unit(asked + 2 * off)) > scores_of(gallery, asked) + 1).mean() > 0.99


def test_axes_come_back_from_their_file(wide: tuple[Gallery, Floats], tmp_path: Path) -> None:
    gallery, asked = wide
    gallery.save(tmp_path)
    found = Gallery.load(tmp_path)
    assert found is not None
    np.testing.assert_allclose(scores_of(found, asked), scores_of(gallery, asked), rtol=1e-5)
    np.testing.assert_allclose(found.usual, gallery.usual)
    # One without, as older versions made it, tells by all features.
    replace(gallery, axes=None).save(tmp_path)
    old = Gallery.load(tmp_path)
    assert old is not None
    assert old.axes is None
    np.testing.assert_allclose(old.usual, gallery.usual)


def test_what_an_older_version_scored_is_not_told(bundle: Bundle) -> None:
    assert bundle.tells_strangeness
    path = bundle.folder / "gallery" / "gallery.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    del facts["figures"]
    path.write_text(json.dumps(facts), encoding="utf-8")
    reseal(bundle.folder)
    old = Bundle.load(bundle.folder)
    assert not old.tells_strangeness
    assert gallery_of(old).photos == gallery_of(bundle).photos


def test_other_things_are_strange(engine: Engine) -> None:
    # Photos of the networks' cars are of one colour; these are not.
    checks = np.indices((40, 40)).sum(axis=0) // 5 % 2 * 255
    file = BytesIO()
    Image.fromarray(checks.astype(np.uint8)).convert("RGB").save(file, "PNG")
    golden = (engine.bundle.folder / "golden" / "0.jpg").read_bytes()
    looked = engine.look([engine.prepare(data) for data in (file.getvalue(), golden)])
    assert looked.strangeness is not None
    assert looked.strangeness.min() >= 0.95


def test_a_bundle_of_an_older_version_answers_but_cannot_tell(bundle: Bundle) -> None:
    for path in (bundle.folder / "gallery").iterdir():
        path.unlink()
    path = bundle.folder / "bundle.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts["format"] = 1
    del facts["added"]
    for graph in facts["graphs"]:
        del graph["outputs"], graph["seen"]
    path.write_text(json.dumps(facts), encoding="utf-8")
    reseal(bundle.folder)
    old = Engine.open(Bundle.load(bundle.folder), "onnxruntime", "fp32")
    golden = (bundle.folder / "golden" / "0.jpg").read_bytes()
    looked = old.look([old.prepare(golden)])
    assert looked.log_probs.shape == (1, 3)
    assert (looked.embeddings, looked.strangeness) == (None, None)


def test_without_held_out_photos_strangeness_is_not_told(exported: Bundle) -> None:
    gallery = gallery_of(exported)
    nothing = replace(
        gallery,
        held_out=gallery.held_out[:0],
        log_probs=gallery.log_probs[:0],
        usual=gallery.usual[:0],
    )
    seen = gallery.embeddings[:2].astype(np.float32)
    assert nothing.strangeness(seen, gallery.log_probs[:2]) is None


def test_parts_that_do_not_belong_together_are_refused(exported: Bundle) -> None:
    gallery = gallery_of(exported)
    with pytest.raises(BundleError, match="149 photos, 150 classes and 150 embeddings"):
        replace(gallery, photos=gallery.photos[1:])


def test_a_pickle_in_place_of_numbers_is_refused(bundle: Bundle) -> None:
    path = bundle.folder / "gallery" / "embeddings.npy"
    with path.open("wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError, match="cannot be read"):
        Gallery.load(bundle.folder)


def test_unit_leaves_zeros() -> None:
    made = unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert made.tolist() == [pytest.approx([0.6, 0.8]), [0, 0]]


def test_what_is_saved_is_what_is_loaded(exported: Bundle, tmp_path: Path) -> None:
    gallery = gallery_of(exported)
    gallery.save(tmp_path)
    again = Gallery.load(tmp_path)
    assert again is not None
    assert (again.photos, again.names, again.scales) == (
        gallery.photos,
        gallery.names,
        gallery.scales,
    )
    np.testing.assert_array_equal(again.embeddings, gallery.embeddings)
    np.testing.assert_array_equal(again.usual, gallery.usual)


def test_small_pictures_are_there_where_they_were_asked_for(
    run: Run, exported: Bundle, photos: Path, tmp_path: Path
) -> None:
    eye = open_eye(run, "0", torch.device("cpu"))
    held_out = Predictions.load(run.predictions_path)
    make_gallery(run, eye, "plain", held_out, tmp_path, thumbnails=True)
    gallery = Gallery.load(tmp_path)
    assert gallery is not None
    assert gallery.photos == gallery_of(exported).photos
    data = gallery.thumbnail(11)
    assert data is not None
    small = np.array(Image.open(BytesIO(data)), float)
    whole = np.array(Image.open(photos / gallery.photos[11]), float)
    np.testing.assert_allclose(small.mean(axis=(0, 1)), whole.mean(axis=(0, 1)), atol=3)
    # Nor are those of a bundle that took this one's place.
    place = tmp_path / "gallery" / "photos"
    place.rename(tmp_path / "old")
    shutil.copytree(tmp_path / "old", place)
    assert gallery.thumbnail(11) is None


def test_what_is_not_asked_for_is_not_computed(exported: Bundle) -> None:
    model = (exported.folder / "members" / "0.onnx").read_bytes()
    assert model.count(b"ReduceLogSumExp") > 0
    assert model.count(b"LogSoftmax") > 0
    assert b"ReduceLogSumExp" not in pruned(model, ("log_probs",))
    assert b"LogSoftmax" not in pruned(model, ("heat",))
    with pytest.raises(ValueError, match="no protocol buffer"):
        pruned(b"not a graph", ("heat",))
