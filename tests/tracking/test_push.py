"""A finished run, sent to each service and read back there."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from PIL import Image

from chajong.errors import TrackerError
from chajong.files import locked
from chajong.run import Run
from chajong.tracking.send import push
from chajong.tracking.tracker import run_id
from tests.tracking.conftest import Server
from tests.tracking.made import (
    history,
    made,
    steps,
    tensorboard_scalars,
    tensorboard_values,
    wandb_history,
    wandb_records,
)

LOSSES = {
    (f"fold-{fold}/{kind}/loss", entry[kind]): entry["loss"]
    for fold in (0, 1)
    for kind, told in (("epoch", history(fold)), ("step", steps(fold)))
    for entry in told
}
PUSHING = """
import os, sys
from pathlib import Path
addresses = set()
def watch(event, values):
    if event == "socket.connect" and isinstance(values[1], tuple):
        addresses.add(f"{values[1][0]}:{values[1][1]}")
sys.addaudithook(watch)
from chajong.errors import TrackerError
from chajong.tracking.send import push
run = Path(sys.argv[1])
for service in ("tensorboard", "wandb", "mlflow") * 2:
    print(push(run, service))
from mlflow.telemetry.utils import is_telemetry_disabled
from wandb.env import error_reporting_enabled
print("telemetry off:", is_telemetry_disabled(), not error_reporting_enabled())
print("asked:", *addresses)
os.environ |= {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
try:
    push(run, "mlflow")
except TrackerError as error:
    print(error)
"""
# MLflow sends nothing where it finds itself tested: this must look like a user's shell.
TESTED = ("PYTEST_CURRENT_TEST", "CI", "GITHUB_", "GITLAB_", "JENKINS_", "CIRCLECI", "TF_BUILD")
USERS = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("WANDB_", "MLFLOW_", "DO_NOT_TRACK", *TESTED))
}


@dataclass(frozen=True)
class Pushed:
    """A run that was sent to all services twice.

    Args:
        run: The run.
        said: What was printed.
        home: The user's home.
    """

    run: Run
    said: list[str]
    home: Path


@pytest.fixture(scope="module")
def pushed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    folder = tmp_path_factory.mktemp("pushed")
    run, home = made(folder / "run"), folder / "home"
    home.mkdir()
    own = {"HOME": str(home), "MLFLOW_TRACKING_URI": server.uri}
    environment = {**USERS, **own, "MPLCONFIGDIR": mpl.get_cachedir()}
    command = [sys.executable, "-c", PUSHING, str(run.folder)]
    process = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert process.returncode == 0, process.stderr
    return Pushed(run, process.stdout.splitlines(), home)


def get(address: str, **question: Any) -> bytes:
    body = json.dumps(question).encode() if question else None
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: bytes = answer.read()
        return content


def is_png(content: bytes) -> bool:
    with Image.open(BytesIO(content)) as picture:
        picture.load()
        return picture.format == "PNG"


def final(run: Run) -> float:
    score = run.score()
    assert score is not None
    value: float = score.log_loss.value
    return value


def losses(run: Run, path: Path) -> list[tuple[tuple[str, int], float]]:
    # Asked of the tables themselves, so that nothing that is there twice stays hidden.
    with sqlite3.connect(path) as database:
        rows = database.execute(
            "select metrics.key, step, metrics.value from metrics join tags using (run_uuid) "
            "where tags.key = 'chajong.run' and tags.value = ?",
            (run_id(run),),
        ).fetchall()
    return sorted(((key, step), value) for key, step, value in rows if key.endswith("/loss"))


def test_tensorboard_has_everything_and_once(pushed: Pushed) -> None:
    run = pushed.run
    scalars = tensorboard_scalars(run.folder)
    assert max(Counter((name, step) for name, step, _ in scalars).values()) == 1
    found = {(name, step): value for name, step, value in scalars}
    assert {at: found[at] for at in LOSSES} == pytest.approx(LOSSES)
    assert found["oof/log_loss", 1] == pytest.approx(final(run))
    tags = Counter(tag for _, tag, _, _ in tensorboard_values(run.folder))
    assert [tags[name] for name in ("confusions", "reliability", "facts", "recipe")] == [1] * 4
    values = {tag: value.tensor.string_val for _, tag, _, value in tensorboard_values(run.folder)}
    assert is_png(values["confusions"][2])  # after its width and height
    assert run.recipe.to_yaml() in values["recipe"][0].decode()
    assert "| environment.device | cpu |" in values["facts"][0].decode()
    assert str(run.predictions_path) in values["oof.parquet"][0].decode()


def test_wandb_has_everything_and_once(pushed: Pushed) -> None:
    run = pushed.run
    logged = wandb_history(run.folder)
    found = [
        ((name, entry[f"fold-{fold}/{kind}/at"]), entry[name])
        for fold in (0, 1)
        for kind in ("epoch", "step")
        for entry in logged
        if (name := f"fold-{fold}/{kind}/loss") in entry
    ]
    assert sorted(found) == sorted(LOSSES.items())
    for name in ("confusions/path", "reliability/path"):
        (picture,) = (entry[name] for entry in logged if name in entry)
        (file,) = run.folder.glob(f"wandb/offline-run-*/files/{picture}")
        assert is_png(file.read_bytes())
    assert [entry["oof/log_loss"] for entry in logged if "oof/log_loss" in entry] == [final(run)]
    records = list(wandb_records(run.folder))
    begun = [record.run for record in records if record.HasField("run")]
    assert {each.run_id for each in begun} == {run_id(run)}
    config = {update.key: json.loads(update.value_json) for update in begun[0].config.update}
    assert config["recipe"] == run.recipe.model_dump(mode="json")
    assert config["facts"]["environment.device"] == "cpu"
    (artefact,) = (each.artifact for each in records if each.artifact.type == "oof")
    (entry,) = artefact.manifest.contents
    assert Path(entry.local_path).read_bytes() == run.predictions_path.read_bytes()
    assert Path(entry.local_path).is_relative_to(run.folder)
    assert {record.exit.exit_code for record in records if record.HasField("exit")} == {0}


def test_an_mlflow_server_has_everything_and_once(pushed: Pushed, server: Server) -> None:
    run, api = pushed.run, f"{server.uri}/api/2.0"
    assert losses(run, server.database) == sorted(LOSSES.items())
    named = get(f"{api}/mlflow/experiments/get-by-name?experiment_name=chajong")
    experiment = json.loads(named)["experiment"]["experiment_id"]
    wanted = f"tags.`chajong.run` = '{run_id(run)}'"
    answer = get(f"{api}/mlflow/runs/search", experiment_ids=[experiment], filter=wanted)
    (found,) = json.loads(answer)["runs"]
    assert (found["info"]["run_name"], found["info"]["status"]) == ("run", "FINISHED")
    measured = {each["key"]: each["value"] for each in found["data"]["metrics"]}
    assert measured["oof/log_loss"] == final(run)
    assert {"key": "train.epochs", "value": "3"} in found["data"]["params"]
    assert {"key": "environment.device", "value": "cpu"} in found["data"]["tags"]
    own = f"{experiment}/{found['info']['run_id']}/artifacts"
    folder = f"{api}/mlflow-artifacts/artifacts/{own}"
    assert get(f"{folder}/oof.parquet") == run.predictions_path.read_bytes()
    assert is_png(get(f"{folder}/pictures/confusions.png"))
    assert is_png(get(f"{folder}/pictures/reliability.png"))
    assert get(f"{folder}/recipe.yaml").decode() == run.recipe.to_yaml()


def test_nobody_else_is_asked_and_nothing_is_left_at_home(pushed: Pushed, server: Server) -> None:
    assert "telemetry off: True True" in pushed.said
    assert f"asked: {server.uri.removeprefix('http://')}" in pushed.said
    assert list(pushed.home.rglob("*")) == []


def test_it_says_what_was_done_and_what_could_not_be(pushed: Pushed) -> None:
    folder = pushed.run.folder
    for service in ("tensorboard", "wandb", "mlflow"):
        assert pushed.said.count(f"{folder} is in {service} now (done)") == 2
    assert pushed.said[-1].startswith(f"{folder} could not be sent to mlflow: ")
    assert "127.0.0.1" in pushed.said[-1]
    assert pushed.said[-1].endswith("What was sent stays; the same command sends the rest.")


LOST = """
import sys
from pathlib import Path
from mlflow.tracking import MlflowClient
from chajong.run import Run
from chajong.tracking.to_mlflow import start
def fail(*_, **__):
    raise ConnectionError
MlflowClient.log_batch = fail
try:
    start(Run.load(Path(sys.argv[1])))
except ConnectionError:
    sys.exit(0)
sys.exit("it was not lost")
"""


def test_without_a_server_mlflow_is_a_file_beside_the_runs(server: Server, tmp_path: Path) -> None:
    shutil.copy(server.empty, tmp_path / "mlflow.db")
    run = made(tmp_path / "run", num_done=1)
    # The link was lost before: what it was lost in is sent again.
    subprocess.run([sys.executable, "-c", LOST, str(run.folder)], env=USERS, check=True)
    command = [sys.executable, "-m", "chajong", "runs", "push", str(run.folder), "--to", "mlflow"]
    said = subprocess.run(command, env=USERS, capture_output=True, text=True, check=True)
    assert said.stdout == f"{run.folder} is in mlflow now (1 of 2 models)\n"
    half = [(at, value) for at, value in LOSSES.items() if at[0].startswith("fold-0")]
    assert losses(run, tmp_path / "mlflow.db") == sorted(half)
    kept = {path.name for path in tmp_path.glob("mlflow-artifacts/*/artifacts/*")}
    assert kept == {"recipe.yaml", "run.json"}


def test_what_was_written_offline_is_still_sent_online(tmp_path: Path) -> None:
    # `disabled` stands for the online mode, which needs an account: neither is the offline one.
    run = made(tmp_path / "run", num_done=1)
    command = [sys.executable, "-m", "chajong", "runs", "push", str(run.folder), "--to", "wandb"]
    for mode in ("offline", "disabled"):
        environment = {**USERS, "WANDB_MODE": mode}
        subprocess.run(command, env=environment, capture_output=True, check=True)
    offline, other = (
        json.loads((run.folder / "wandb" / f"sent-{mode}.json").read_text())
        for mode in ("offline", "disabled")
    )
    assert offline == other == {"fold-0/step": steps(0)[-1]["step"], "fold-0/epoch": 3}


def test_two_processes_do_not_tell_a_service_of_one_run(tmp_path: Path) -> None:
    run = made(tmp_path / "run", num_done=0)
    with (
        locked(run.folder / ".tensorboard.lock", wait=False),
        pytest.raises(TrackerError, match="Another process is telling tensorboard of"),
    ):
        push(run.folder, "tensorboard")
