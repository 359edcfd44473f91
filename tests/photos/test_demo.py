"""Demo photos: the same arguments, the same bytes; fine-grained; and what was planted is told."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from chajong.errors import DataError
from chajong.labels import nfc
from chajong.photos.demo import render_demo

NUM_MODELS, PER_MODEL = 8, 16


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "photos"
    render_demo(out, NUM_MODELS, PER_MODEL, seed=0, num_processes=2)
    return out


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for out, num_processes in (("one", 1), ("two", 2)):
        render_demo(tmp_path / out, 2, 5, seed=3, num_processes=num_processes)
    render_demo(tmp_path / "other", 2, 5, seed=4, num_processes=1)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tmp_path / "one") != digests(tmp_path / "other")


def test_it_lies_like_a_dacon_download(demo: Path) -> None:
    names = sorted(path.name for path in (demo / "train").iterdir())
    assert len(names) == NUM_MODELS
    assert all(name == nfc(name) for name in names)
    for name in names:
        assert len(list((demo / "train" / name).glob(f"{name}_*.jpg"))) == PER_MODEL
    test = pl.read_csv(demo / "test.csv")
    assert test.columns == ["ID", "img_path"]
    assert all((demo / path).is_file() for path in test["img_path"])
    raw = (demo / "sample_submission.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    header = raw.decode("utf-8-sig").splitlines()[0].split(",")
    assert header == ["ID", *names]
    truth = pl.read_csv(demo / "test_labels.csv")
    assert truth["ID"].to_list() == test["ID"].to_list()
    assert set(truth["label"]) == set(names)


def test_what_was_planted_is_told(demo: Path) -> None:
    about = pl.read_csv(demo / "about.csv")
    assert {"interior", "wheel"} & set(about["kind"]), "photos of no whole car"
    copies = about.filter(pl.col("of").is_not_null() & (pl.col("of") != ""))
    assert copies.height > 0
    for file, of in copies.select("file", "of").iter_rows():
        assert Path(file).parent == Path(of).parent, "duplicates stay in their class"
        assert (demo / of).is_file()


def test_what_is_there_is_kept_and_something_else_is_refused(demo: Path) -> None:
    before = digests(demo)
    render_demo(demo, NUM_MODELS, PER_MODEL, seed=0)
    assert digests(demo) == before
    with pytest.raises(DataError, match="seed"):
        render_demo(demo, NUM_MODELS, PER_MODEL, seed=1)
    assert digests(demo) == before


def test_names_can_be_given(tmp_path: Path) -> None:
    names = ["아반떼_CN7_2021_2023", "K5_3세대_2020_2023"]
    render_demo(tmp_path / "out", per_model=4, class_names=names, num_processes=1)
    found = sorted(path.name for path in (tmp_path / "out" / "train").iterdir())
    assert found == sorted(names)


def test_colours_do_not_tell_the_models_apart(demo: Path) -> None:
    def histogram(path: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3) // 32
        bins = pixels[:, 0].astype(int) * 64 + pixels[:, 1] * 8 + pixels[:, 2]
        return np.bincount(bins, minlength=512) / len(bins)

    photos = sorted((demo / "train").glob("*/*.jpg"))
    x = np.sqrt([histogram(path) for path in photos])
    y = np.array([path.parent.name for path in photos])
    held_out = np.arange(len(photos)) % 3 == 0
    model = LogisticRegression(C=10.0, max_iter=2000).fit(x[~held_out], y[~held_out])
    assert model.score(x[held_out], y[held_out]) < 0.5
