"""Every command of the documentation runs, on demo photos in a folder that has what pages speak of.

Commands run as they are written, but for the changes of `CHANGES`; those of `ELSEWHERE` run
somewhere else or cannot run in a test. A command that is neither changed, nor elsewhere, nor a call
of chajong or Python, fails the test. Commands that serve until they are stopped are started, asked,
and stopped.
"""

import os
import re
import shlex
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
import torch

import chajong
from chajong.cli import main
from chajong.corrections import Corrections, Decision
from tests.test_readme import CALL, PAGES, blocks, shell_lines
from tests.training.processes import LIMIT_S, end, forks
from tests.training.tiny import write_photos

ROOT = Path(__file__).parent.parent

TINY = (
    *(
        "train.epochs=1",
        "train.batch_size=16",
        "data.size_px=32",
        "data.eval_px=32",
        "data.grow=[]",
    ),
    *("model.backbone=test_resnet", "model.frozen_stages=0", "folds.num_folds=2"),
)
"""What every recipe becomes here, whatever a page sets."""

CHANGES: tuple[tuple[str, str, str], ...] = (
    (r"( train .*)", r"\1 " + " ".join(f"--set {each}" for each in TINY), "a tiny network"),
    (r"( train (?!.*model\.weights=).*)", r"\1 --set model.weights=none", "nothing is downloaded"),
    (r"model\.weights=FILE(?=\s)", "model.weights=FILE.safetensors", "the ending of a real file"),
    (r"--weights pretrained", "--weights FILE.safetensors --backbone test_resnet", "no download"),
    (r" demo-photos .*", " demo-photos drawn --models 2 --per-model 4 ", "drawing takes long"),
    (r"( export .*)", r"\1 --photos MANY", "the demo photos are too few for a proof"),
    (r" --track mlflow", "", "tests/tracking/test_push.py has a server"),
    (r"( runs push .* --to) .*", r"\1 tensorboard", "the others take long to start"),
    (r"( (?:review|watch .*--page).*)", r"\1 --no-browser", "nobody is there to look"),
)
"""A pattern, what it becomes, and why."""

ELSEWHERE: tuple[tuple[str, str], ...] = (
    (r"git clone .*|cd chajong", "gets this very project"),
    (r"make \w+", "continuous integration runs it"),
    (r"(\.venv/bin/)?pip (install|wheel) .*", "needs a package index"),
    (r"python -m benchmarks\.\w+.*", "a measurement that takes minutes on real photos"),
    (r"curl .*", "tests/serving/test_service.py asks a real service"),
    (r"schemathesis .*", "tests/serving/test_service_limits.py asks with fewer cases"),
    (r"docker .*", "needs a container engine; tests/serving/test_deploy.py reads the files"),
    (r".*torchrun .*", "tests/training/test_train.py trains in two processes"),
    (r".* export .* --catalogue .*", "takes ten seconds; tests/serving/test_export.py does it too"),
)
"""What does not run here, and why."""

SERVING = re.compile(r" (review|serve|watch .*--page)( |$)")


def commands(page: str) -> list[str]:
    """The commands of a page; of a Korean page those that its English twin has not."""
    twin = page.replace(".ko.md", ".md")
    known = shell_lines(twin) if twin != page else []
    return [line for line in shell_lines(page) if line not in known]


def reason(line: str) -> str | None:
    return next((why for what, why in ELSEWHERE if re.fullmatch(what, line)), None)


def arguments(line: str) -> list[str]:
    """What follows `chajong`, with the changes of the table."""
    found = CALL.match(line)
    assert found is not None, f"{line!r} is no call of chajong, and ELSEWHERE does not name it"
    text = f"{found[1]} "
    for pattern, becomes, _ in CHANGES:
        text = re.sub(pattern, becomes, text)
    return shlex.split(text)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pages speak of: photos by several names, two runs, a blend, tables."""
    folder = tmp_path_factory.mktemp("docs") / "made"
    photos = chajong.demo_photos(folder / "photos", models=4, per_model=24)
    for name in ("PHOTOS", "NEW_PHOTOS", "DATA", "open"):
        (folder / name).symlink_to(photos)
    write_photos(folder / "MANY", per_class=167, side_px=24)
    torch.set_num_threads(1)
    for name, seed in (("first", 1), ("second", 2)):
        changes = [*TINY, "model.weights=none", f"train.seed={seed}"]
        run = chajong.train(photos, "demo", changes=changes, out=folder / "runs" / name)
    shutil.copy(next((run.folder / "fold-0").glob("weights*")), folder / "FILE.safetensors")
    chajong.blend([run], folder / "blend", budget=1)
    shutil.copytree(folder / "blend", folder / "runs" / "blend")
    (folder / "OTHER_FOLDER").mkdir()
    shutil.copy(photos / "test_labels.csv", folder / "labels.csv")
    chajong.predict(run, photos).save(folder / "predictions.parquet")
    chajong.submit(
        folder / "predictions.parquet", photos / "sample_submission.csv", folder / "PREDICTIONS"
    )
    head, _, rest = (ROOT / "src/chajong/data/catalogue.csv").read_text("utf-8").partition("\n")
    (folder / "MINE.csv").write_text(f"{head}\n{rest.partition(chr(10))[0]}\n", encoding="utf-8")
    decide(folder / "runs/first")
    return folder


def decide(run: Path) -> None:
    """Leave a decision as `chajong review` would; nobody presses a key here."""
    path = run / "corrections.csv"
    worst = chajong.find_suspects(run).table.row(0, named=True)
    when = "2026-01-31T09:00:00+00:00"
    decision = Decision(worst["id"], "relabel", worst["suggested"], "a test", when, "")
    Corrections((decision,)).save(path)
    shutil.copy(path, run.parent.parent)


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a page may change, with the files that the page shows."""
    copy = shutil.copytree(made, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("CHAJONG_CACHE", str(made.parent / "cache"))
    return copy


Call = Callable[[list[str]], str]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(words: list[str]) -> str:
        monkeypatch.setattr(sys, "argv", ["chajong", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        assert not stopped.value.code, f"{shlex.join(words)}\n{out}\n{err}"
        return out

    return run


def be_the_command(words: list[str], folder: Path, said: Path) -> None:
    """In a process of its own, which a Ctrl-C may end."""
    os.chdir(folder)
    with said.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["chajong", *words]
    main()


def serve(words: list[str], folder: Path) -> None:
    """Start a command that serves, see its address answer, and stop it."""
    said = folder / "said.txt"
    said.touch()
    process = forks().Process(target=be_the_command, args=(words, folder, said))
    process.start()
    try:
        address = next(addresses(said, process.is_alive))
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        with opener.open(address, timeout=LIMIT_S) as answer:
            assert answer.status == 200
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        process.join(LIMIT_S)
        assert process.exitcode in (0, 130), said.read_text(encoding="utf-8")
    finally:
        end(process)


def addresses(said: Path, alive: Callable[[], bool]) -> Iterator[str]:
    deadline = time.monotonic() + LIMIT_S
    while alive() and time.monotonic() < deadline:
        if found := re.search(r"http://\S+", said.read_text(encoding="utf-8")):
            yield found[0]
        time.sleep(0.05)
    raise AssertionError(f"no address: {said.read_text(encoding='utf-8')}")


def run_line(line: str, folder: Path, call: Call) -> None:
    words = arguments(line)
    out = words[words.index("--out") + 1] if "--out" in words else None
    if words[0] == "train" and out is not None:
        shutil.rmtree(folder / out, ignore_errors=True)  # the page makes its own
    if SERVING.search(f" {shlex.join(words)}"):
        serve(words, folder)
        if words[0] == "review":
            decide(folder / words[1])
    else:
        call(words)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_every_command_runs(page: str, folder: Path, call: Call) -> None:
    for text in blocks(page, "yaml"):  # such as `# mine.yaml`
        name = text.partition("\n")[0].removeprefix("# ")
        (folder / name).write_text(text, encoding="utf-8")
    for line in commands(page):
        if reason(line) is None:
            run_line(line, folder, call)


def python_blocks() -> dict[str, str]:
    """Every block of Python, with the page that shows it; one that two pages show once."""
    return {text: page for page in reversed(PAGES) for text in blocks(page, "python")}


@pytest.mark.parametrize(("text", "page"), python_blocks().items(), ids=python_blocks().values())
def test_every_python_block_runs(text: str, page: str, folder: Path) -> None:
    shutil.rmtree(folder / "runs" / "first")  # the block trains its own
    tiny = re.sub(r"changes=\[.*\]", f"changes={[*TINY, 'model.weights=none']}", text)
    exec(compile(tiny, page, "exec"), {})


@pytest.mark.parametrize("page", PAGES)
def test_no_command_hides_in_another_kind_of_block(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    # `py` is for the heads of functions in the reference, which is made.
    assert "```py\n" not in text or page == "docs/api.md"
    kinds = re.findall(r"^```(.*)$", text, re.MULTILINE)[::2]
    assert set(kinds) <= {"sh", "python", "yaml", "text", "py", ""}
    for body in (*blocks(page, ""), *blocks(page, "text")):
        calls = [line for line in body.splitlines() if CALL.match(line.strip())]
        assert calls == []


def test_each_reason_and_each_change_is_needed() -> None:
    lines = {line for page in PAGES for line in shell_lines(page)}
    assert [what for what, _ in ELSEWHERE if not any(re.fullmatch(what, at) for at in lines)] == []
    texts = [f" {found[1]} " for line in lines if (found := CALL.match(line))]
    assert [what for what, *_ in CHANGES if not any(re.search(what, at) for at in texts)] == []
