"""A run to review, and the real command that serves its page."""

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from chajong.predictions import Predictions
from chajong.run import Run, finish_model
from chajong.run_start import start_run
from chajong.split import split
from tests.manifests import manifest_of, photo_rows
from tests.runs import RECIPE, facts

NAMES = ("가온_2015_2018", "나솔_2013_2016", "다별_2018_2021")
PER_CLASS, DOUBTED = 30, 20  # of each class; photo 29 is damaged, 28 a PNG
NUM = len(NAMES) * DOUBTED


def made_run(folder: Path) -> Run:
    """A finished run, its predictions made up: each class doubts its first photos."""
    labels = [name for name in NAMES for _ in range(PER_CLASS)]
    ids = [f"{name}/{name}_{number}.jpg" for name in NAMES for number in range(PER_CLASS)]
    # The first photo of the first two classes is one picture.
    groups = [0 if number in (0, PER_CLASS) else number for number in range(len(labels))]
    table = photo_rows(labels, groups).with_columns(id=pl.Series(ids), path=pl.Series(ids))
    manifest = manifest_of(table, folder / "photos")
    for number, id_ in enumerate(ids):
        path = folder / "photos" / id_
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = tuple(np.random.default_rng(number).integers(0, 256, 3).tolist())
        kind = "png" if number % PER_CLASS == 28 else "jpeg"
        Image.new("RGB", (96, 64), colour).save(path, kind)
        if number % PER_CLASS == 29:
            path.write_bytes(path.read_bytes()[:200])
    made = start_run(
        folder / "run", RECIPE, manifest, split(manifest, 2, 0), facts(RECIPE, manifest)
    )
    for name in made.models:
        finish_model(made.model_folder(name), {"seconds": 1.0}, [])
    predicted(ids, labels).save(made.predictions_path)
    return made


def predicted(ids: list[str], labels: list[str]) -> Predictions:
    probs = np.zeros((len(ids), len(NAMES)))
    for row, label in enumerate(labels):
        number, own = row % PER_CLASS, NAMES.index(label)
        given = 0.01 * (number + 1) if number < DOUBTED else 0.7 + 0.01 * number
        other = (own + 1) % len(NAMES)
        probs[row] = (1 - given) * 0.1
        probs[row, own], probs[row, other] = given, (1 - given) * 0.9
    return Predictions(
        ids=tuple(ids),
        statuses=("ok",) * len(ids),
        classes=NAMES,
        views=("plain",),
        log_probs=np.log(probs).astype(np.float32)[:, None],
        kind="oof",
        run="r",
        labels=tuple(labels),
        folds=(0,) * len(ids),
    )


@dataclass
class Server:
    """The real command, started and listening."""

    process: "subprocess.Popen[str]"
    url: str
    cookie: str = field(init=False)
    port: int = field(init=False)

    def __post_init__(self) -> None:
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", self.url)
        assert found is not None, self.url
        self.port = int(found[1])
        self.cookie = f"chajong_{self.port}={found[2]}"

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        """Ask as the page does, with the cookie, unless told otherwise."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            sent = None if body is None else json.dumps(body)
            headers = {"Cookie": self.cookie} | headers
            connection.request("GET" if body is None else "POST", path, sent, headers)
            answer = connection.getresponse()
            got = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, answer.read(), got
        finally:
            connection.close()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=10)


@contextmanager
def serving(run: Run, path: Path) -> Iterator[Server]:
    words = ["review", str(run.folder), "--corrections", str(path), "--no-browser", "--who", "나"]
    process = subprocess.Popen(
        [sys.executable, "-m", "chajong", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert "http://" in first, process.communicate()[1]
        yield Server(process, first.split()[-1])
    finally:
        process.kill()
        process.communicate(timeout=10)
