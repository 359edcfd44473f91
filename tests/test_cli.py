"""The chain as its users call it, and what they may get wrong: one message, exit code 2."""

import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import chajong
from chajong.cli import main
from chajong.environment import package_version
from chajong.errors import RunError
from chajong.labels import known_names
from chajong.predictions import Predictions
from tests.experiments.made_up import answers, labels_of, make_run

Cli = Callable[..., tuple[int, str, str]]

TINY = (
    "--recipe=demo",
    "--set=model.backbone=test_convnext",
    "--set=data.size_px=32",
    "--set=data.eval_px=32",
    "--set=train.epochs=1",
    "--set=train.batch_size=8",
    "--set=folds.num_folds=2",
)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    monkeypatch.setenv("CHAJONG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["chajong", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


def draw_photo(path: Path, seed: int, size: tuple[int, int] = (48, 40)) -> None:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    small.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)


def make_dacon(root: Path, names: Iterable[str], per_class: int = 6, num_test: int = 5) -> Path:
    names = sorted(names)
    for place, name in enumerate(names):
        for number in range(per_class):
            draw_photo(root / "train" / name / f"{name}_{number:04d}.jpg", place * 100 + number)
    ids = [f"TEST_{number:05d}" for number in range(num_test)]
    for number, id_ in enumerate(ids):
        draw_photo(root / "test" / f"{id_}.jpg", 10_000 + number)
    paths = [f"./test/{id_}.jpg" for id_ in ids]
    pl.DataFrame({"ID": ids, "img_path": paths}).write_csv(root / "test.csv")
    sample = pl.DataFrame({"ID": ids, **{name: [0.0] * num_test for name in names}})
    sample.write_csv(root / "sample_submission.csv", include_bom=True)
    return root


def refused(result: tuple[int, str, str], *said: str) -> str:
    code, _, err = result
    last = err[err.index("chajong: ") :]
    assert code == 2, err
    assert "Traceback" not in err
    for word in said:
        assert word in last, last
    return last


def test_letters_that_no_record_can_hold_are_refused_before_the_work(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = os.fsdecode(b"cars\xff")
    refused(cli("train", "photos", "--out", unreadable), "b'cars\\xff' is not UTF-8", "Rename")
    refused(cli("runs", f"--recipe={unreadable}"), "is not UTF-8")
    (tmp_path / unreadable).mkdir()
    monkeypatch.chdir(tmp_path / unreadable)
    refused(cli("runs"), "cars\\xff' is not UTF-8")


def test_the_whole_chain_from_photos_to_a_submission(cli: Cli, tmp_path: Path) -> None:
    data = make_dacon(tmp_path / "data", ["가온_2015_2018", "나솔_2013_2016", "다별_2018_2021"])
    broken = data / "train" / "가온_2015_2018" / "가온_2015_2018_0000.jpg"
    broken.write_bytes(broken.read_bytes()[:300])

    code, out, _ = cli("audit", data, "--out", tmp_path / "audit")
    assert code == 0
    assert "unreadable" in out
    assert (tmp_path / "audit" / "issues.jpg").stat().st_size > 1000

    code, out, err = cli("train", data, *TINY, "--out", "run")
    assert code == 0, err
    oof = Predictions.load(tmp_path / "run" / "oof.parquet")
    readable = {f"train/{path.parent.name}/{path.name}" for path in data.glob("train/*/*.jpg")}
    assert set(oof.ids) == readable - {f"train/가온_2015_2018/{broken.name}"}

    assert cli("train", data, *TINY, "--out", "run")[0] == 0, "a finished run is left as it is"
    code, out, _ = cli("runs", ".")
    assert code == 0
    assert "done" in out

    (data / "test" / "TEST_00003.jpg").write_bytes(b"no photo")
    code, out, err = cli("predict", "run", data, "--out", "p.parquet")
    assert (code, "1 without a prediction" in out) == (0, True), err
    made = Predictions.load(tmp_path / "p.parquet")
    assert [status == "ok" for status in made.statuses] == [True, True, True, False, True]

    sample = data / "sample_submission.csv"
    refused(cli("submit", "p.parquet", "--sample", sample), "TEST_00003")
    assert not (tmp_path / "submission.csv").exists()
    code, out, err = cli("submit", "p.parquet", "--sample", sample, "--unreadable", "uniform")
    assert code == 0, err

    truth = tmp_path / "truth.csv"
    pl.DataFrame({"ID": list(made.ids), "label": ["가온_2015_2018"] * 5}).write_csv(truth)
    from_file = cli("evaluate", "submission.csv", "--labels", truth)
    from_table = cli("evaluate", "p.parquet", "--labels", truth, "--unreadable", "uniform")
    assert from_file[0] == from_table[0] == 0
    assert from_file[1].splitlines()[1] == from_table[1].splitlines()[1]
    # Held-out photos know their classes.
    assert "log loss" in cli("evaluate", "run/oof.parquet")[1]
    options = ("--labels", truth, "--unreadable", "uniform", "--reliability", "drawn.png")
    assert cli("evaluate", "p.parquet", *options) == from_table
    with Image.open("drawn.png") as drawn:
        assert min(drawn.size) > 500
        assert np.asarray(drawn.convert("RGB")).std() > 5
    by_file_name = tmp_path / "by file name.csv"
    ids = [f"test/{id_}.jpg" for id_ in made.ids]
    pl.DataFrame({"ID": ids, "label": ["가온_2015_2018"] * 5}).write_csv(by_file_name)
    picture = Path("drawn.png").read_bytes()
    assert cli("evaluate", "p.parquet", "--labels", by_file_name, *options[2:])[0] == 0
    assert Path("drawn.png").read_bytes() == picture
    options = ("--labels", truth, "--unreadable", "uniform", "--reliability", "drawn.jpg")
    refused(cli("evaluate", "p.parquet", *options), ".png")
    refused(cli("evaluate", "p.parquet", "--unreadable", "uniform"), "table of labels (ID,label)")


def test_a_model_of_all_photos_knows_the_396_korean_classes(cli: Cli, tmp_path: Path) -> None:
    data = make_dacon(tmp_path / "data", known_names(), per_class=2, num_test=3)
    code, _, err = cli("train", data, *TINY, "--fold", "all", "--out", "run")
    assert code == 0, err
    assert not (tmp_path / "run" / "oof.parquet").exists()
    assert cli("predict", "run", data, "--out", "p.parquet")[0] == 0
    code, out, err = cli("submit", "p.parquet", "--sample", data / "sample_submission.csv")
    assert code == 0, err
    assert "3 rows, 396 classes" in out


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--epochs=3", "--set train.epochs=3"),
        ("--batch-size", "--set train.batch_size=..."),
        ("--optim.lr=1", "--set optim.lr=1"),
        ("--seed", "--set train.seed=... or --set folds.seed=..."),
    ],
)
def test_an_option_that_is_a_recipes_is_told_how_to_set(cli: Cli, word: str, said: str) -> None:
    code, _, err = cli("train", "photos", word, 3)
    assert code == 2
    assert f"It is part of the recipe: {said}" in err
    assert "No such option: --nothing" in cli("train", "photos", "--nothing")[2]


def test_an_audit_into_a_run_is_refused_before_the_work(cli: Cli, tmp_path: Path) -> None:
    make_run(tmp_path / "run", labels := labels_of(20), answers(labels, 1.0))
    err = refused(cli("audit", tmp_path, "--out", tmp_path / "run"), "an audit would overwrite")
    assert "reading photos" not in err
    with pytest.raises(RunError, match="an audit would overwrite"):
        chajong.audit(tmp_path / "nowhere", out=tmp_path / "run")


def test_a_run_of_other_data_is_refused_and_kept(cli: Cli, tmp_path: Path) -> None:
    data = make_dacon(tmp_path / "data", ["a", "b"])
    assert cli("train", data, *TINY, "--fold", "0", "--out", "run")[0] == 0
    weights = next((tmp_path / "run" / "fold-0").glob("weights*"))
    before = weights.read_bytes()
    other = make_dacon(tmp_path / "other", ["a", "b", "c"])
    refused(cli("train", other, *TINY, "--out", "run"), "other data", "--out")
    changed = (*TINY, "--set=optim.lr=0.5")
    refused(cli("train", data, *changed, "--out", "run"), "optim.lr", "--out")
    assert weights.read_bytes() == before


def test_empty_folder(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(cli("train", "empty", *TINY), "empty")
    refused(cli("train", "missing", *TINY), "missing")


def test_one_class(cli: Cli, tmp_path: Path) -> None:
    refused(cli("train", make_dacon(tmp_path / "data", ["only"]), *TINY), "class")


def test_a_class_with_one_photo(cli: Cli, tmp_path: Path) -> None:
    data = make_dacon(tmp_path / "data", ["a", "b"])
    draw_photo(data / "train" / "lonely" / "x.jpg", 7)
    refused(cli("train", data, *TINY), "lonely", "--fold all")


def test_damaged_and_odd_files_are_rows_with_a_reason(cli: Cli, tmp_path: Path) -> None:
    data = make_dacon(tmp_path / "data", ["a", "b"])
    folder = data / "train" / "a"
    whole = (folder / "a_0001.jpg").read_bytes()
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("this is no photo", encoding="utf-8")
    Image.new("RGB", (30, 30), "red").save(folder / "renamed.png")
    (folder / "renamed.png").rename(folder / "renamed.jpg")
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    code, _, err = cli("audit", data, "--out", "audit")
    assert code == 0, err
    issues = pl.read_parquet(tmp_path / "audit" / "issues.parquet")
    found = {
        row["id"].rsplit("/", 1)[-1]
        for row in issues.rows(named=True)
        if row["issue"] == "unreadable"
    }
    assert found == {"zero.jpg", "cut.jpg", "text.jpg", "bomb.png"}
    wrong = issues.filter(pl.col("issue") == "wrong_suffix")["id"].to_list()
    assert wrong == ["train/a/renamed.jpg"]


def test_a_symlink_loop(cli: Cli, tmp_path: Path) -> None:
    data = make_dacon(tmp_path / "data", ["a", "b"])
    folder = data / "train" / "a"
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    refused(cli("train", data, *TINY), "loop", "Remove the link")


def test_two_files_whose_names_are_equal_in_nfc(cli: Cli, tmp_path: Path) -> None:
    data = make_dacon(tmp_path / "data", ["a", "b"])
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "가온.jpg")
        draw_photo(data / "train" / "a" / name, 3)
    refused(cli("train", data, *TINY), "NFC")


def test_a_name_that_no_file_can_have(cli: Cli, tmp_path: Path) -> None:
    data = make_dacon(tmp_path / "data", ["a", "b"])
    (data / "metadata.csv").write_text(f"file_name,label\n{'x' * 300}.jpg,a\n")
    refused(cli("train", data, "--layout", "metadata", *TINY), "None of the 1 files")
    refused(cli("train", tmp_path / ("x" * 300), *TINY), "File name too long", "right name")


def test_folders_that_may_not_be_entered(cli: Cli, nobody: Path) -> None:
    closed = nobody / "closed"
    refused(cli("train", closed / "photos", *TINY), "closed/photos: Permission denied")
    code, out, _ = cli("runs", nobody)
    assert code == 0
    assert "closed" not in out


def test_tables_of_photos(cli: Cli, tmp_path: Path) -> None:
    data = make_dacon(tmp_path / "data", ["a", "b"])
    rows = [f"train/{p.parent.name}/{p.name},{p.parent.name}" for p in data.glob("train/*/*.jpg")]
    table = data / "photos.csv"

    table.write_bytes("\r\n".join(["\ufeffpath,label", *rows]).encode())
    code, _, err = cli("train", table, *TINY, "--fold", "0", "--out", "run")
    assert code == 0, err
    table.write_text("\n".join(["file,label", *rows]), encoding="utf-8")
    refused(cli("train", table, *TINY), "path", "file")
    table.write_text("\n".join(["path,label", *rows, "../../etc/x.jpg,a"]), encoding="utf-8")
    refused(cli("train", table, *TINY), "x.jpg")


def test_classes_that_the_sample_does_not_know(cli: Cli, tmp_path: Path) -> None:
    data = make_dacon(tmp_path / "data", ["a", "b", "c"])
    assert cli("train", data, *TINY, "--fold", "0", "--out", "run")[0] == 0
    assert cli("predict", "run", data, "--out", "p.parquet")[0] == 0
    sample = data / "sample_submission.csv"
    text = sample.read_text(encoding="utf-8-sig")
    sample.write_text(text.replace("ID,a,b,c", "ID,a,b,z"), encoding="utf-8-sig")
    refused(cli("submit", "p.parquet", "--sample", sample), "c")


def test_a_recipe_with_three_mistakes(cli: Cli, tmp_path: Path) -> None:
    mistakes = ("--set=train.epoch=3", "--set=optim.lr=-1", "--set=loss.kind=focla")
    said = refused(cli("train", tmp_path, *TINY, *mistakes), "train.epoch", "optim.lr", "loss")
    assert "epochs" in said
    assert "'focal'" in said


def test_weights_of_another_architecture(cli: Cli, tmp_path: Path) -> None:
    data = make_dacon(tmp_path / "data", ["a", "b"])
    assert cli("train", data, *TINY, "--fold", "0", "--out", "run")[0] == 0
    weights = next((tmp_path / "run" / "fold-0").glob("weights*"))
    shutil.copy(weights, tmp_path / "w.safetensors")
    other = ("--set=model.backbone=test_resnet", "--set=model.weights=w.safetensors")
    refused(cli("train", data, *TINY, *other), "another architecture")
    refused(cli("train", data, *TINY, "--set=model.weights=gone.safetensors"), "gone")


def test_what_is_not_installed_is_one_message() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['chajong', 'expect', 'run', "
        "'--test', 'photos']\nfrom chajong.cli import main\nmain()"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr == (
        "chajong: torch is not installed, and this command needs it. `chajong doctor` says how to "
        "install it.\n"
    )


def test_the_version_is_told(cli: Cli) -> None:
    assert cli("--version") == (0, f"chajong {package_version('chajong')}\n", "")
