"""A training that is killed at any moment goes on, bit by bit as if nothing had happened."""

import json
import random
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np

from chajong.predictions import Predictions
from chajong.run import Run
from tests.training.conftest import Job
from tests.training.processes import end, start_training
from tests.training.tiny import measured

NUM_KILLS = 20
WEIGHTS = ("weights.raw.safetensors", "weights.ema.safetensors")


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def assert_same_run(found: Path, wanted: Path) -> None:
    """All that matters of two runs, bit by bit; and no file is left over or missing."""
    assert files_of(found) == files_of(wanted)
    for fold in ("fold-0", "fold-1"):
        for name in WEIGHTS:
            assert (found / fold / name).read_bytes() == (wanted / fold / name).read_bytes()
        histories = [
            json.loads((run / fold / "history.json").read_text()) for run in (found, wanted)
        ]
        assert measured(histories[0]) == measured(histories[1])
    assert_same_predictions(found / "oof.parquet", wanted / "oof.parquet")
    assert (found / "score.json").read_bytes() == (wanted / "score.json").read_bytes()


def assert_same_predictions(found: Path, wanted: Path) -> None:
    a, b = Predictions.load(found), Predictions.load(wanted)
    assert np.array_equal(a.log_probs, b.log_probs)
    assert (a.ids, a.labels, a.folds, a.run) == (b.ids, b.labels, b.folds, b.run)


def test_killed_at_any_moment_the_same_command_goes_on(uninterrupted: Job, job: Job) -> None:
    alone_s = sum(
        json.loads((uninterrupted.out / fold / "done.json").read_text())["wall_s"]
        for fold in ("fold-0", "fold-1")
    )
    said = job.out.parent / "said.txt"
    kills, finished = 0, 0
    while kills < NUM_KILLS or not finished:
        process = start_training(job.photos, job.recipe, job.out, job.cache, said)
        # Once all kills are done, the last process may take its time.
        limit_s = random.uniform(0, 0.7 * alone_s) if kills < NUM_KILLS else 60
        process.join(limit_s)
        if process.is_alive():
            process.kill()
            process.join()
        if process.exitcode == -signal.SIGKILL:
            kills += 1
            continue
        assert process.exitcode == 0, said.read_text(encoding="utf-8")
        end(process)
        assert_same_run(job.out, uninterrupted.out)
        finished += 1
        if kills < NUM_KILLS:
            shutil.rmtree(job.out)
            shutil.rmtree(job.cache)
    assert "Traceback" not in said.read_text(encoding="utf-8")


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(job: Job) -> None:
    # Long enough that the signal arrives in the middle, however slow this machine is.
    more = ("--fold", "0", "--set", "train.epochs=20", "--set", "train.patience=null")
    process = job.start(*more)
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 1/20" in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.splitlines()[-1].startswith("chajong: stopped in fold 0 after")
    assert "of 20 epochs" in rest
    assert "nothing is lost. The same command goes on from here." in rest
    assert "Traceback" not in rest
    code, said = job.run(*more)
    assert code == 0, said
    assert "epoch 1/20" not in said  # it did not start anew
    whole = replace(job, out=job.out.with_name("whole"))
    assert whole.run(*more)[0] == 0
    for name in WEIGHTS:
        found, wanted = (run.out / "fold-0" / name for run in (job, whole))
        assert found.read_bytes() == wanted.read_bytes()
    assert_same_predictions(job.out / "fold-0/oof.parquet", whole.out / "fold-0/oof.parquet")


def test_a_finished_run_is_left_alone(uninterrupted: Job) -> None:
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.out.rglob("*.*")}
    code, said = uninterrupted.run()
    assert code == 0
    assert "(done)" in said
    assert {path: path.stat().st_mtime_ns for path in uninterrupted.out.rglob("*.*")} == before


def test_folds_trained_one_by_one_make_the_same_run(uninterrupted: Job, job: Job) -> None:
    for fold in ("1", "0"):
        assert not Run.load(job.out).score_path.exists() if job.out.exists() else True
        code, said = job.run("--fold", fold)
        assert code == 0, said
    assert_same_run(job.out, uninterrupted.out)
