import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.training.processes import free_port


@dataclass(frozen=True)
class Server:
    """An MLflow server.

    Args:
        uri: Its address.
        database: Its SQLite file.
        empty: A copy from before anything was sent; making the tables takes seconds.
    """

    uri: str
    database: Path
    empty: Path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real one, in a process of its own."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    database = folder / "mlflow.db"
    # What `mlflow server` sets for the application that it starts.
    environment = {
        **os.environ,
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{database}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "flask", "--app", "mlflow.server:app", "run", "-p", str(port)]
    log = folder / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        uri = f"http://127.0.0.1:{port}"
        # The first answer about data comes when the tables are made.
        about_data = "api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
        _wait_for(f"{uri}/{about_data}", process, log)
        yield Server(uri, database, Path(shutil.copy(database, folder / "empty.db")))
    finally:
        process.kill()
        process.wait()


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(address, timeout=60):
                return
        except OSError:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.1)
    raise AssertionError(log.read_text(encoding="utf-8"))
