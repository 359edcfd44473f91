"""The review: the real command, real requests, and a real browser where there is one."""

import http.client
import json
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import polars as pl
import pytest
from PIL import Image

from chajong.corrections import Corrections
from chajong.errors import RunError
from chajong.predictions import Predictions
from chajong.reporting.review import Review, Wish
from chajong.reporting.review_page import review_labels
from chajong.run import Run
from chajong.split import split
from tests.manifests import manifest_of, photo_rows
from tests.test_run import RECIPE, facts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("가온_2015_2018", "나솔_2013_2016", "다별_2018_2021")
PER_CLASS, DOUBTED = 30, 20  # of each class; photo 29 is damaged, 28 a PNG
NUM = len(NAMES) * DOUBTED


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run, its predictions made up: each class doubts its first photos."""
    folder = tmp_path_factory.mktemp("review")
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
    made = Run.start(
        folder / "run", RECIPE, manifest, split(manifest, 2, 0), facts(RECIPE, manifest)
    )
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
    made = Run.start(tmp_path / "run", RECIPE, corrected, split(corrected, 2, 0), record)
    table = corrected.trainable()
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


# --- in a browser ---------------------------------------------------------------------------------


@contextmanager
def page_of(browser: "Browser", **options: Any) -> "Iterator[Page]":
    context = browser.new_context(**options)
    context.set_default_timeout(8000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    context.close()
    assert wrong == []


def test_deciding_by_keyboard(run: Run, tmp_path: Path, browser: "Browser") -> None:
    path = tmp_path / "corrections.csv"

    def decided() -> list[tuple[str, str | None]]:
        return [(d.action, d.label) for d in Corrections.load_or_empty(path).decisions]

    with page_of(browser, locale="en-US") as page:
        with serving(run, path) as server:
            page.goto(server.url)
            page.get_by_text(f"0 of {NUM} decided").wait_for()
            assert page.evaluate("location.search") == "", "the token leaves the address"
            suggested = page.locator("#suggested").text_content()
            page.keyboard.press("z")
            page.keyboard.press("k")  # goes back, and decides nothing
            assert page.locator("dialog[open]").count() == 0
            assert decided() == []
            press(page, "k", "saved")
            press(page, "ㄱ", "saved", code="KeyR")  # as a Korean keyboard types it
            assert [action for action, _ in decided()] == ["keep", "relabel"]
            assert decided()[1][1] != suggested, "the second photo's, not the first's"

            page.keyboard.press("/")
            page.keyboard.type("2018 다별")
            assert page.locator("#options li").all_text_contents() == [NAMES[2]]
            page.keyboard.press("Enter")
            page.get_by_text(f"3 of {NUM} decided").wait_for()
            assert decided()[2] in {("relabel", NAMES[2]), ("keep", None)}
            press(page, "x", "saved")
            assert decided()[3] == ("exclude", None)
            press(page, "u", "taken back")
            assert len(decided()) == 3
            assert page.locator("#place").text_content() == f"Suspect 4 of {NUM}"
            press(page, "x", "saved")
            page.keyboard.press("ArrowLeft")
            assert page.locator("#verdict").text_content() == "Excluded"
            page.keyboard.press("l")
            before = decided()
            server.kill()
            press(page, "k", "not saved")
            assert page.locator("#place").text_content() == f"Suspect 5 of {NUM}"
            assert "Start chajong review again" in (page.locator("#failure").text_content() or "")
        with serving(run, path) as server:
            page.goto(server.url)
            page.get_by_text(f"4 of {NUM} decided").wait_for()
            assert page.locator("#place").text_content() == f"Suspect 5 of {NUM}"
            assert decided() == before
            press(page, "u", "taken back")
            assert decided() == before[:3]


def press(page: "Page", key: str, status: str, code: str | None = None) -> None:
    """Press a key and wait for what the page says then."""
    if code is None:
        page.keyboard.press(key)
    else:
        event = f"new KeyboardEvent('keydown', {{key: '{key}', code: '{code}', bubbles: true}})"
        page.evaluate(f"document.body.dispatchEvent({event})")
    expect: Callable[..., Any] = page.wait_for_function
    expect("text => document.getElementById('status').textContent === text", arg=status)


def test_on_a_phone_in_korean(run: Run, tmp_path: Path, browser: "Browser") -> None:
    path = tmp_path / "corrections.csv"
    phone = {"width": 390, "height": 844}
    with (
        serving(run, path) as server,
        page_of(browser, locale="ko-KR", viewport=phone, color_scheme="dark") as page,
    ):
        page.goto(server.url)
        page.get_by_text(f"{NUM}장 중 0장 결정").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.documentElement.lang") == "ko"
        page.wait_for_function("document.getElementById('photo').naturalWidth === 96")
        for button in page.get_by_role("button").all():
            assert button.evaluate("b => (b.ariaLabel || b.textContent).trim()")

        # A full disk: the page says so and stays where it is.
        pid = server.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        page.get_by_role("button", name="유지").click()
        page.get_by_text("저장 안 됨").wait_for()
        assert not path.exists()
        assert page.locator("#place").text_content() == f"의심 사진 1 / {NUM}"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        page.get_by_role("button", name="유지").click()
        page.get_by_text("저장됨", exact=True).wait_for()
        assert Corrections.load(path).decisions[0].who == "나"
        page.get_by_role("button", name="English").click()
        page.get_by_text(f"1 of {NUM} decided").wait_for()
        page.reload()
        page.get_by_text(f"1 of {NUM} decided").wait_for()
