"""The review: the real command, and real requests."""

import http.client
import json
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from chajong.corrections import Corrections
from chajong.errors import RunError
from chajong.reporting.review import Review, Wish
from chajong.reporting.review_page import review_labels
from chajong.run import Run, finish_model
from chajong.run_start import start_run
from chajong.split import split
from tests.reporting.reviewing import (
    NAMES,
    NUM,
    Server,
    predicted,
    serving,
)
from tests.runs import RECIPE, facts


@pytest.fixture(scope="module")
def server(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(run, tmp_path_factory.mktemp("server") / "corrections.csv") as made:
        yield made


def test_the_token_is_needed_for_everything(server: Server) -> None:
    for path in ("/", "/state", "/review.js", "/review.css", "/photo?id=x", "/nothing"):
        assert server.ask(path, Cookie="")[0] == 403, path
    wrong = server.cookie[:-1] + ("a" if server.cookie[-1] != "a" else "b")
    assert server.ask("/state", Cookie=wrong)[0] == 403
    assert server.ask("/state?token=%C3%A9", Cookie="")[0] == 403
    assert server.ask("/decide", {}, Cookie="")[0] == 403
    status, _, headers = server.ask("/?" + server.url.partition("?")[2], Cookie="")
    assert status == 200
    assert headers["set-cookie"].startswith(server.cookie)
    assert "HttpOnly" in headers["set-cookie"]
    assert "samesite=strict" in headers["set-cookie"].lower()
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert server.ask("/state")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", ""])
def test_other_names_of_the_host_are_refused(server: Server, host: str) -> None:
    assert server.ask("/state", Host=host)[0] == 403


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:80"])
def test_this_machine_by_any_port_is_served(server: Server, host: str) -> None:
    assert server.ask("/state", Host=host)[0] == 200


def test_another_page_of_this_machine_is_refused(server: Server) -> None:
    wish = {"id": "x", "action": "keep"}
    assert server.ask("/decide", wish, Origin=f"http://127.0.0.1:{server.port + 1}")[0] == 403
    assert server.ask("/decide", wish, Origin=f"http://127.0.0.1:{server.port}")[0] == 409


def test_only_photos_of_the_manifest_are_shown(server: Server, run: Run) -> None:
    outside = run.folder.parent / "photos" / "secret.jpg"
    Image.new("RGB", (8, 8)).save(outside)
    inside = f"{NAMES[0]}/{NAMES[0]}_5.jpg"
    for id_ in (
        *("secret.jpg", "../photos/secret.jpg", str(outside), f"{NAMES[0]}/../secret.jpg"),
        *("/etc/passwd", "../../../../etc/passwd", f"./{inside}", f"{inside}\0", ""),
    ):
        assert server.ask("/photo?" + urlencode({"id": id_}))[0] == 404, id_
    for path in ("/../review.py", "/%2e%2e/review.py", "/static/review.html", "/review.py"):
        assert server.ask(path)[0] == 404, path
    assert server.ask("/photo?" + urlencode({"id": inside, "size": "huge"}))[0] == 404
    status, body, headers = server.ask("/photo?" + urlencode({"id": inside, "size": "small"}))
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(BytesIO(body)).size == (96, 64)


def test_photos_are_opened_strictly_and_encoded_anew(server: Server) -> None:
    png = f"{NAMES[1]}/{NAMES[1]}_28.jpg"
    assert server.ask("/photo?" + urlencode({"id": png}))[1].startswith(b"\xff\xd8")
    status, body, _ = server.ask("/photo?" + urlencode({"id": f"{NAMES[1]}/{NAMES[1]}_29.jpg"}))
    assert (status, body) == (422, b"truncated JPEG")


def test_what_the_page_gets(server: Server) -> None:
    state = json.loads(server.ask("/state")[1])
    assert len(state["suspects"]) == NUM
    first = state["suspects"][0]
    assert first["duplicate_says"] == NAMES[1 - NAMES.index(first["label"])]
    assert [twin["label"] for twin in first["twins"]] == [first["duplicate_says"]]
    for name, sure in state["sure"].items():
        assert sure == [f"{name}/{name}_{number}.jpg" for number in range(29, 23, -1)]
    assert all(row["twins"] == [] for row in state["suspects"][2:])


def test_a_run_that_was_put_away_meanwhile(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    with serving(Run.load(folder), folder / "corrections.csv") as server:
        folder.rename(tmp_path / "away")
        wish = {"id": f"{NAMES[0]}/{NAMES[0]}_1.jpg", "action": "keep"}
        status, body, _ = server.ask("/decide", wish)
    assert status == 409
    assert "is no longer there" in json.loads(body)["error"]
    assert not folder.exists()


def test_nonsense_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    with serving(run, path) as server:
        id_ = f"{NAMES[0]}/{NAMES[0]}_1.jpg"
        for wish, code, said in (
            ({"id": "missing", "action": "keep"}, 409, "missing"),
            ({"id": f"{NAMES[0]}/{NAMES[0]}_25.jpg", "action": "keep"}, 409, "suspects"),
            ({"id": id_, "action": "relabel", "label": "가온_2015_2019"}, 409, NAMES[0]),
            ({"id": id_, "action": "relabel"}, 409, "needs a label"),
            ({"id": id_, "action": "exclude", "label": NAMES[1]}, 409, "no label"),
            ({"id": id_, "action": "delete"}, 422, "action"),
            ({"id": id_, "action": "keep", "who": "me"}, 422, "who"),
            ([], 422, ""),
        ):
            status, body, _ = server.ask("/decide", wish)
            assert status == code, wish
            assert said in json.loads(body)["error"]
        assert not path.exists()

        with pytest.raises(RunError, match="Another review holds"):
            next(review_labels(run, path))

        assert server.ask("/decide", {"id": id_, "action": "keep"})[0] == 200
        path.write_bytes(path.read_bytes() + b"\n")
        status, body, _ = server.ask("/decide", {"id": id_, "action": "exclude"})
        assert (status, "another program" in json.loads(body)["error"]) == (409, True)
        assert Corrections.load(path).decisions[0].action == "keep"
        assert json.loads(server.ask("/state")[1])["decisions"][id_]["action"] == "keep"

        server.process.send_signal(signal.SIGINT)
        said, complained = server.process.communicate(timeout=10)
        assert (server.process.returncode, complained) == (0, "")
        assert f"{path}: 0 excluded, 0 relabelled, 1 kept" in said
        assert f"--corrections {path}" in said


def test_a_killed_server_loses_no_decision_that_it_answered(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    answered: list[str] = []
    actions: dict[str, tuple[str, str | None]] = {}
    for enough in (9, 25):
        with serving(run, path) as server:
            state = json.loads(server.ask("/state")[1])
            todo = [r for r in state["suspects"] if r["id"] not in state["decisions"]]
            stream = threading.Thread(target=_decide_all, args=(server, todo, answered, actions))
            stream.start()
            while len(answered) < enough and stream.is_alive():
                Corrections.load_or_empty(path)  # whole at any moment
            server.kill()
            stream.join()
        kept = {d.id: (d.action, d.label) for d in Corrections.load(path).decisions}
        assert enough <= len(answered) < NUM
        assert {id_: kept.get(id_) for id_ in answered} == {id_: actions[id_] for id_ in answered}
        assert len(kept) <= len(answered) + 2, "at most one on its way a time"
        answered[:] = list(kept)


def _decide_all(
    server: Server,
    rows: list[dict[str, Any]],
    answered: list[str],
    actions: dict[str, tuple[str, str | None]],
) -> None:
    for number, row in enumerate(rows):
        action = ("keep", "exclude", "relabel")[number % 3]
        label = row["suggested"] if action == "relabel" else None
        actions[row["id"]] = (action, label)
        try:
            status = server.ask("/decide", {"id": row["id"], "action": action, "label": label})[0]
        except (OSError, http.client.HTTPException):
            return
        if status == 200:
            answered.append(row["id"])


def test_decisions_at_one_time_are_all_written(run: Run, tmp_path: Path) -> None:
    review = Review(run, tmp_path / "corrections.csv", "나")
    wishes = [Wish(id=row["id"], action="keep") for row in review.suspects]
    with ThreadPoolExecutor(4) as threads:
        assert len(list(threads.map(review.decide, wishes))) == NUM
    assert len(Corrections.load(review.path).decisions) == NUM


def test_an_undo_goes_back_to_what_was_decided_before(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    review = Review(run, path, "나")
    first, second = (row["id"] for row in review.suspects[:2])
    review.decide(Wish(id=first, action="keep"))
    review.decide(Wish(id=second, action="exclude"))
    review.decide(Wish(id=first, action="relabel", label=NAMES[2]))
    assert review.undo() == {"id": first, "decision": {"action": "keep", "label": None}}
    again = Review(run, path, "너")
    assert again.undo()["id"] == first, "the last decision in the file"
    assert again.undo()["id"] == second
    assert again.undo()["id"] is None
    assert Corrections.load(path).decisions == ()


def test_a_corrected_label_is_kept_by_giving_it_again(run: Run, tmp_path: Path) -> None:
    # Keeping means the label that the run learnt, not the one in the data.
    path = tmp_path / "corrections.csv"
    review = Review(run, path, "나")
    row = review.suspects[3]
    review.decide(Wish(id=row["id"], action="relabel", label=row["label"]))
    assert review.corrections.decisions[0].action == "keep"
    review.decide(Wish(id=row["id"], action="relabel", label=row["suggested"]))
    corrected = review.corrections.apply(run.manifest())
    record = facts(RECIPE, corrected).model_copy(update={"corrections": "f"})
    made = start_run(tmp_path / "run", RECIPE, corrected, split(corrected, 2, 0), record)
    table = corrected.trainable()
    for name in made.models:
        finish_model(made.model_folder(name), {"seconds": 1.0}, [])
    predicted(table["id"].to_list(), table["label"].to_list()).save(made.predictions_path)
    with pytest.raises(RunError, match="--corrections FILE"):
        next(review_labels(made))
    later = Review(made, path, "나")
    assert (
        later.suspects[[r["id"] for r in later.suspects].index(row["id"])]["label"] != row["label"]
    )
    later.decide(Wish(id=row["id"], action="keep"))
    (decision,) = later.corrections.decisions
    assert (decision.action, decision.label) == ("relabel", row["suggested"])
