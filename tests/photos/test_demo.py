"""Demo photos: the same arguments, the same bytes; fine-grained; and what was planted is told."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from chajong.environment import num_cores
from chajong.errors import DataError
from chajong.photos.demo import render_demo
from chajong.photos.drawing.design import design
from chajong.photos.drawing.names import default_names, kinship
from chajong.wording import nfc

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
    assert {"exact", "reencoded"} <= set(copies["kind"])
    for file, kind, of in copies.select("file", "kind", "of").iter_rows():
        assert Path(file).parent == Path(of).parent, "duplicates stay in their class"
        same = (demo / file).read_bytes() == (demo / of).read_bytes()
        assert same == (kind == "exact")
        assert far_apart(demo / file, demo / of, mirrored=kind == "mirrored") < 12
    told = set(copies.filter(pl.col("kind") == "exact")["file"])
    digest_of = digests(demo)
    photos = {name: digest for name, digest in digest_of.items() if name.endswith(".jpg")}
    assert len(photos) - len(set(photos.values())) == len(told), "no copies but those told of"


def far_apart(one: Path, other: Path, *, mirrored: bool) -> float:
    """The mean difference of two photos, in grey levels."""
    small = [
        np.asarray(Image.open(path).convert("L").resize((32, 24)), float) for path in (one, other)
    ]
    return float(np.abs(small[0][:, ::-1] - small[1] if mirrored else small[0] - small[1]).mean())


def test_test_photos_are_darker(demo: Path) -> None:
    def grey(part: str) -> float:
        photos = list((demo / part).rglob("*.jpg"))
        return float(np.mean([np.asarray(Image.open(path).convert("L")).mean() for path in photos]))

    assert grey("test") < 0.9 * grey("train")


def test_what_is_there_is_kept(demo: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*.jpg")}
    render_demo(demo, NUM_MODELS, PER_MODEL, seed=0)
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*.jpg")} == before


def test_anything_else_that_is_there_is_refused(demo: Path, tmp_path: Path) -> None:
    before = digests(demo)
    with pytest.raises(DataError, match="differ in: seed"):
        render_demo(demo, NUM_MODELS, PER_MODEL, seed=1)
    with pytest.raises(DataError, match="per_model, class_names"):
        render_demo(demo, 3, 8)
    assert digests(demo) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no demo photos"):
        render_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_photos_that_went_missing_are_noticed(tmp_path: Path) -> None:
    render_demo(tmp_path / "out", 1, 4, num_processes=1)
    next((tmp_path / "out" / "train").rglob("*.jpg")).unlink()
    with pytest.raises(DataError, match="4 of 5 demo photos"):
        render_demo(tmp_path / "out", 1, 4)


def test_two_at_a_time_draw_once(tmp_path: Path) -> None:
    def draw() -> None:
        render_demo(tmp_path / "out", 1, 4, num_processes=1)

    with ThreadPoolExecutor(2) as threads:
        for each in [threads.submit(draw) for _ in range(2)]:
            each.result()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(num_cores() == 1, reason="one core draws in the process itself")
def test_a_script_that_its_processes_would_run_again_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import chajong\nchajong.demo_photos({str(tmp_path / 'out')!r}, 2, 4)\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'must stand below `if __name__ == "__main__":`' in done.stderr
    script.write_text(f"import chajong\nif __name__ == '__main__':\n    {script.read_text()[15:]}")
    subprocess.run([sys.executable, script], check=True, timeout=60)
    assert (tmp_path / "out").is_dir()


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / ".out.partial" / "train" / "old"
    left.mkdir(parents=True)
    (left / "old_0000.jpg").write_bytes(b"half")
    (tmp_path / "out").mkdir()
    render_demo(tmp_path / "out", 1, 4, num_processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not list((tmp_path / "out").rglob("old*"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_models": 0},
        {"per_model": 3},
        {"seed": -1},
        {"class_names": []},
        {"class_names": ["a", "a"]},
        {"class_names": ["a/b"]},
        {"class_names": [".a"]},
        {"class_names": ["a\n"]},
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    tmp_path: Path, arguments: dict[str, Any]
) -> None:
    with pytest.raises(DataError):
        render_demo(tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


def test_made_up_names_are_many_and_sorted() -> None:
    names = default_names(700)
    assert len(set(names)) == 700
    assert list(names) == sorted(names)
    assert all(name == nfc(name) for name in names)
    assert len(set(kinship(names))) == 700, "no two models are the same car"


def test_a_facelift_differs_in_one_detail_and_a_generation_in_its_body() -> None:
    names = ("하람_2017_2019", "더_뉴_하람_2020_2022", "하람_2세대_2023_2025")
    old, lifted, new = (asdict(design(0, kin)) for kin in kinship(names))
    changed = {key for key in old if old[key] != lifted[key]}
    assert changed in ({"headlamp", "tail_lamp"}, {"grille"}, {"wheel"})
    assert old["body"]["kind"] == new["body"]["kind"]
    assert old["body"] != new["body"]


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
