import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from chajong.errors import RunError
from chajong.recipes import load_recipe
from chajong.run import Run
from chajong.training.rerun import rerun
from chajong.training.train import Options, train
from tests.runs import edit
from tests.training.conftest import Job
from tests.training.processes import command


def test_a_run_trained_again_is_the_same_to_the_bit(finished: Run, job: Job) -> None:
    # By the command, in a process of its own as the run was.
    words = ["runs", "rerun", finished.folder, "--out", job.out, "--cache", job.cache]
    code, said = command([str(word) for word in words], job.cache.parent / "said.txt")
    assert code == 0, said
    assert "bit-equal: 4 file(s) of weights of 2 model(s)" in said
    assert "fold 1: the same to the bit, 18 photo(s)" in said
    assert "not bit-equal" not in said
    again = Run.load(job.out)
    assert again.score() == finished.score()
    # Typed again, nothing is trained, and the answer is the same.
    weights = job.out / "fold-0" / "weights.raw.safetensors"
    before = weights.stat().st_mtime_ns
    code, said = command([str(word) for word in words], job.cache.parent / "said.txt")
    assert (code, weights.stat().st_mtime_ns) == (0, before)
    assert "bit-equal: 4" in said


def test_processes_that_train_again_together_meet_once(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torchrun's store still holds where they met before they parted: they would not meet again.
    inside: list[bool] = []

    @contextmanager
    def joined(_: object) -> Iterator[None]:
        inside.append(True)
        yield
        inside.append(False)

    def trained(*_: object) -> None:
        assert inside == [True]

    monkeypatch.setattr("chajong.training.rerun.join_world", joined)
    monkeypatch.setattr("chajong.training.rerun.train", trained)
    assert len(finished.done) == 2
    options = Options(out=tmp_path / "again", cache_folder=tmp_path / "cache")
    assert rerun(finished, None, options) is None
    assert inside == [True, False]


def copied(finished: Run, folder: Path) -> Run:
    shutil.copytree(finished.folder, folder)
    return Run.load(folder)


def test_the_folds_that_were_trained_are_trained_again_on_as_many_threads(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied(finished, tmp_path / "run")
    (run.folder / "fold-0" / "done.json").unlink()
    edit(run.folder / "run.json", lambda record: record["environment"].update(code="other"))
    torch.set_num_threads(2)
    monkeypatch.chdir(run.folder)
    try:
        found = rerun(Run.load(Path()), None, Options(cache_folder=tmp_path / "cache"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert found is not None
    assert found.b == str(tmp_path / "run-again")
    again = Run.load(tmp_path / "run-again")
    assert again.done == found.models == ("1",)
    assert again.facts("1")["threads"] == run.facts("1")["threads"] == 1
    assert found.bit_equal, found.lines()
    assert found.changes.code
    # What another version trained again proves nothing of this one.
    monkeypatch.undo()
    edit(again.folder / "run.json", lambda record: record["environment"].update(code="another"))
    with pytest.raises(RunError, match="holds a rerun by another version of this program"):
        rerun(Run.load(run.folder), None, Options(cache_folder=tmp_path / "cache"))


def test_each_fold_has_the_threads_it_had(finished: Run, tmp_path: Path) -> None:
    run = copied(finished, tmp_path / "run")
    edit(run.folder / "fold-1" / "done.json", lambda facts: facts.update(threads=2))
    rerun(run, None, Options(cache_folder=tmp_path / "cache"))
    again = Run.load(tmp_path / "run-again")
    assert [again.facts(name)["threads"] for name in again.done] == [1, 2]
    assert again.score_path.exists()


def test_weights_are_found_again_from_another_folder(
    finished: Run, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finished.model_folder("0") / "weights.raw.safetensors"
    shutil.copy(first, tmp_path / "first.safetensors")
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(str(job.recipe), ["model.weights=first.safetensors"])
    options = Options(out=job.out, fold="1", cache_folder=job.cache)
    run = train(job.photos, recipe, options)
    assert run is not None
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = rerun(run, None, Options(cache_folder=job.cache))
    assert found is not None
    assert found.bit_equal
    assert not found.changes.weights


def test_other_data_or_weights_are_refused_before_any_work(
    finished: Run, job: Job, tmp_path: Path
) -> None:
    run = copied(finished, tmp_path / "copy")
    options = Options(out=job.out, cache_folder=job.cache)
    photos = tmp_path / "photos"
    shutil.copytree(run.record.data, photos)
    sorted(photos.rglob("*.jpg"))[0].unlink()
    with pytest.raises(RunError, match="was trained on other data: 36 photos then, 35 of"):
        rerun(run, photos, options)
    with pytest.raises(RunError, match="which is not there: say --data"):
        rerun(run, tmp_path / "gone", options)
    edit(run.folder / "run.json", lambda record: record.update(weights="others"))
    with pytest.raises(RunError, match=r"started from others; now there is none\. Restore"):
        rerun(Run.load(run.folder), None, options)
    assert not job.out.exists()


def test_what_cannot_be_trained_again(finished: Run, tmp_path: Path) -> None:
    run = copied(finished, tmp_path / "copy")
    with pytest.raises(RunError, match="cannot be trained again in itself"):
        rerun(run, None, Options(out=run.folder))
    for name in run.models:
        (run.model_folder(name) / "done.json").unlink()
    with pytest.raises(RunError, match="has no trained model to compare with"):
        rerun(run, None, Options())
