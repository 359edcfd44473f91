"""A class is added from a few photos, costs the others little, and is taken out without a trace."""

import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO, TextIOWrapper
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from chajong.bundle import Bundle
from chajong.checksums import write_sums
from chajong.errors import BundleError, DataError
from chajong.look_alikes import look_alike_names
from chajong.photos.drawing.album import draw_few
from chajong.serving.add_class import MIN_PHOTOS, add_class, read_examples, remove_class
from chajong.serving.engine import Engine
from tests.serving.running import running

NAME = "현대_옐로_2021"


def write_plain(folder: Path, colour: tuple[int, int, int], num: int) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(sum(colour))
    for place in range(num):
        pixels = (np.array(colour) + rng.normal(0, 40, (40, 40, 3))).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{place:02}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def engine(exported: Bundle) -> Engine:
    return Engine.open(exported, "onnxruntime", "fp32")


@pytest.fixture(scope="session")
def yellow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plain(tmp_path_factory.mktemp("new") / "yellow", (200, 200, 60), 25)


@pytest.fixture(scope="session")
def few(yellow: Path) -> Path:
    folder = yellow.with_name("few")
    folder.mkdir()
    for path in sorted(yellow.iterdir())[:MIN_PHOTOS]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="session")
def more(engine: Engine, few: Path) -> Bundle:
    return add_class(engine, NAME, str(few), few.with_name("more"), by="kim")


def answers(bundle: Bundle, paths: Sequence[Path]) -> NDArray[np.float32]:
    engine = Engine.open(bundle, "onnxruntime", "fp32")
    return engine.answer([engine.prepare(path.read_bytes()) for path in paths])


def held_out(bundle: Bundle, photos: Path) -> tuple[list[Path], list[str]]:
    gallery = bundle.gallery
    assert gallery is not None
    places = gallery.held_out.tolist()
    return [photos / gallery.photos[place] for place in places], [
        gallery.names[place] for place in places
    ]


def test_a_new_class_is_found_by_five_photos(more: Bundle, yellow: Path) -> None:
    found = answers(more, sorted(yellow.iterdir())[MIN_PHOTOS:])
    assert more.labels.names == ("blue", "green", "빨강", NAME)
    assert (found.argmax(axis=1) == more.labels.index(NAME)).mean() >= 0.6
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-5)


def test_it_costs_the_learned_classes_little(exported: Bundle, more: Bundle, photos: Path) -> None:
    paths, names = held_out(exported, photos)
    losses = []
    for bundle in (exported, more):
        said = answers(bundle, paths)
        columns = [bundle.labels.index(name) for name in names]
        losses.append(-said[np.arange(len(paths)), columns].mean())
    assert 0 <= losses[1] - losses[0] <= 0.01
    # What is on record is of the networks that did not learn the photos; these are all networks.
    assert more.facts.added[0].old_log_loss_gap <= 0.005 + 1e-6


def test_learned_classes_keep_their_order_and_ratios(
    exported: Bundle, more: Bundle, photos: Path
) -> None:
    paths, _ = held_out(exported, photos)
    old, new = answers(exported, paths[:8]), answers(more, paths[:8])[:, :3]
    np.testing.assert_allclose(new - new[:, :1], old - old[:, :1], atol=1e-4)


def test_what_was_added_is_on_record(exported: Bundle, more: Bundle, few: Path) -> None:
    (added,) = more.facts.added
    assert (added.name, added.by, added.parent) == (NAME, "kim", exported.fingerprint)
    assert added.photos == tuple(sorted(path.name for path in few.iterdir()))
    assert added.added[:2] == "20"
    assert more.fingerprint != exported.fingerprint
    car = more.catalogue.of(NAME)
    assert (car.maker_ko, car.model, car.year_from) == ("현대", "옐로", 2021)
    card = more.card()
    assert card["added"][0]["name"] == NAME
    assert card["num_classes"] == len(more.labels.names) == 4
    alike = {(pair["name"], pair["other"]) for pair in card["look_alike_names"]}
    assert alike == {(pair.name, pair.other) for pair in look_alike_names(more.labels.names)}
    text = (more.folder / "CARD.md").read_text(encoding="utf-8")
    assert "4 classes." in text
    assert "현대_옐로_2021" in text


def test_undone_it_is_the_old_bundle_to_the_bit(
    exported: Bundle, more: Bundle, photos: Path, tmp_path: Path
) -> None:
    less = remove_class(more, NAME, tmp_path / "less")
    assert less.fingerprint == exported.fingerprint
    folders = [
        {path.relative_to(each.folder) for path in each.folder.rglob("*")}
        for each in (less, exported)
    ]
    assert folders[0] == folders[1]
    paths, _ = held_out(exported, photos)
    np.testing.assert_array_equal(answers(less, paths[:8]), answers(exported, paths[:8]))


def test_of_two_added_classes_each_can_be_taken_out(
    more: Bundle, yellow: Path, tmp_path: Path
) -> None:
    violet = write_plain(tmp_path / "violet", (200, 60, 200), 6)
    both = add_class(
        Engine.open(more, "onnxruntime", "fp32"), "violet", str(violet), tmp_path / "both"
    )
    assert both.labels.names == ("blue", "green", "violet", "빨강", NAME)
    paths = [*sorted(yellow.iterdir())[10:14], *sorted(violet.iterdir())]
    wanted = [NAME] * 4 + ["violet"] * 6
    said = answers(both, paths).argmax(axis=1)
    assert [both.labels.names[place] for place in said].count("violet") >= 4
    assert sum(both.labels.names[p] == w for p, w in zip(said, wanted, strict=True)) >= 7
    less = remove_class(both, "violet", tmp_path / "less")
    np.testing.assert_array_equal(answers(less, paths), answers(more, paths))


def test_an_added_class_has_no_map_and_the_service_says_so(
    more: Bundle, yellow: Path, tmp_path: Path
) -> None:
    photo = sorted(yellow.iterdir())[MIN_PHOTOS].read_bytes()
    with running(more.folder, tmp_path / "log") as service:
        assert service.ask("/v1/model").json["can"]["heat"]
        assert service.ask("/v1/predict", photo).json["top"][0]["name"] == NAME
        for where in ("/v1/heat", f"/v1/heat?class={quote(NAME)}"):
            refused = service.ask(where, photo)
            assert (refused.status, refused.kind) == (404, "no-heat")
            assert "added to the bundle later" in refused.json["detail"]
        assert service.ask("/v1/heat?class=green", photo).status == 200


def test_photos_of_an_added_class_are_less_strange(
    exported: Bundle, more: Bundle, yellow: Path
) -> None:
    strange = []
    for bundle in (exported, more):
        engine = Engine.open(bundle, "onnxruntime", "fp32")
        paths = sorted(yellow.iterdir())[MIN_PHOTOS:]
        looked = engine.look([engine.prepare(path.read_bytes()) for path in paths])
        assert looked.strangeness is not None
        strange.append(looked.strangeness)
    assert (strange[1] <= strange[0]).all()
    assert strange[1].mean() < strange[0].mean()


def test_what_is_strange_to_learned_classes_stays_so_however_many_are_added(
    engine: Engine, more: Bundle, photos: Path, tmp_path: Path
) -> None:
    violet = write_plain(tmp_path / "violet", (200, 60, 200), MIN_PHOTOS)
    opened = Engine.open(more, "onnxruntime", "fp32")
    more = add_class(opened, "violet", str(violet), tmp_path / "both")
    paths, _ = held_out(engine.bundle, photos)
    looks = [
        each.look([each.prepare(path.read_bytes()) for path in paths[:40]])
        for each in (engine, Engine.open(more, "onnxruntime", "fp32"))
    ]
    before, after = (look.strangeness for look in looks)
    assert before is not None
    assert after is not None
    places = [more.labels.index(name) for name in engine.bundle.labels.names]
    share = np.exp(looks[1].log_probs[:, places]).sum(axis=1)
    assert (share > 0.5).mean() > 0.9
    assert (share < 1 - 1e-6).any()
    np.testing.assert_array_equal(after[share > 0.5], before[share > 0.5])


def test_a_car_that_was_added_under_another_name_is_told(
    more: Bundle, yellow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = Engine.open(more, "onnxruntime", "fp32")
    again = tmp_path / "again"
    again.mkdir()
    for path in sorted(yellow.iterdir())[MIN_PHOTOS : 2 * MIN_PHOTOS]:
        (again / path.name).write_bytes(path.read_bytes())
    violet = write_plain(tmp_path / "violet", (200, 60, 200), MIN_PHOTOS)
    capsys.readouterr()
    add_class(opened, "violet", str(violet), tmp_path / "other")
    assert "Is it one car?" not in capsys.readouterr().err
    add_class(opened, "twin", str(again), tmp_path / "twin")
    said = capsys.readouterr().err
    assert f"of the 5 photos of {NAME}, added before, are more like twin than like each" in said


def test_a_photo_that_is_named_twice_counts_once(
    engine: Engine, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(path) for path in sorted(few.iterdir())]
    listed = "\n".join([*paths[:2], *paths]).encode()
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(listed)))
    assert len(read_examples(engine, "-").ids) == MIN_PHOTOS


def test_a_name_that_is_there_is_refused(engine: Engine, more: Bundle, few: Path) -> None:
    for bundle, name in ((engine, "green"), (Engine.open(more, "onnxruntime", "fp32"), NAME)):
        with pytest.raises(DataError, match=f"has a class {name} already"):
            add_class(bundle, name, str(few), few.with_name("twice"))
    with pytest.raises(DataError, match="needs a name"):
        add_class(engine, "  ", str(few), few.with_name("twice"))


def test_photos_that_show_the_same_and_broken_ones_do_not_count(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for place, data in enumerate(draw_few(4)):
        (folder / f"{place}.jpg").write_bytes(data)
    with Image.open(folder / "0.jpg") as photo:
        photo.resize((photo.width // 2, photo.height // 2)).save(folder / "small.jpg")
    (folder / "torn.jpg").write_bytes((folder / "1.jpg").read_bytes()[:100])
    with pytest.raises(DataError, match="has 4 usable photos among the 6"):
        add_class(engine, "drawn", str(folder), tmp_path / "more")
    said = capsys.readouterr().err
    assert "small.jpg: the same picture as 0.jpg" in said
    assert "torn.jpg: unreadable: " in said
    assert not (tmp_path / "more").exists()


def test_the_old_bundle_is_never_written_to(engine: Engine, few: Path) -> None:
    with pytest.raises(DataError, match="is the old bundle, which is kept"):
        add_class(engine, "yellow", str(few), engine.bundle.folder)
    Bundle.load(engine.bundle.folder)


def test_a_class_that_was_not_added_cannot_be_taken_out(more: Bundle, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"green was not added .* Added: '{NAME}'"):
        remove_class(more, "green", tmp_path / "less")


def test_a_bundle_without_a_gallery_is_refused(bundle: Bundle, few: Path, tmp_path: Path) -> None:
    for path in (bundle.folder / "gallery").iterdir():
        path.unlink()
    write_sums(bundle.folder)
    engine = Engine.open(Bundle.load(bundle.folder), "onnxruntime", "fp32")
    with pytest.raises(BundleError, match="has no gallery, so a class cannot be added"):
        add_class(engine, "yellow", str(few), tmp_path / "more")


def test_the_command_adds_and_takes_out(exported: Bundle, few: Path, tmp_path: Path) -> None:
    def chajong(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "chajong", "add-class", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = chajong(exported.folder, NAME, few, "--out", tmp_path / "more", "--by", "lee")
    assert done.returncode == 0, done.stderr
    assert f"4 classes; {NAME} from 5 photos costs the learned classes 0.00" in done.stdout
    again = chajong(tmp_path / "more", "two words", few, "--out", tmp_path / "both")
    assert "all 2 added classes together cost at most 0.0" in again.stdout
    assert again.stdout.splitlines()[-1].endswith("'two words' --undo")
    assert "at most 0.0" in (tmp_path / "both" / "CARD.md").read_text(encoding="utf-8")
    done = chajong(tmp_path / "more", NAME, "--undo", "--out", tmp_path / "less")
    assert done.returncode == 0, done.stderr
    assert Bundle.load(tmp_path / "less").fingerprint == exported.fingerprint
    done = chajong(tmp_path / "more", NAME, few, "--undo")
    assert (done.returncode, "not both" in done.stderr) == (2, True)
