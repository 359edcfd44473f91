"""The report of a real run and a real blend, and the maps in it."""

import re
import shlex
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from chajong.blending.make import make_blend
from chajong.blending.subject import Subject
from chajong.comparison import Comparison, compare
from chajong.corrections import Corrections, Decision
from chajong.errors import RunError
from chajong.pairs import open_side, pair
from chajong.pooling import normalised
from chajong.predictions import Predictions
from chajong.record import now
from chajong.reporting.report_page import comparison_page, report_page
from chajong.run import Run
from chajong.training.look_again import look_again
from chajong.training.train import Options, train
from tests.runs import edit
from tests.training.processes import command
from tests.training.tiny import CPU, make_recipe, write_photos


@pytest.fixture(scope="module")
def page(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_page(Subject.open(finished.folder), tmp_path_factory.mktemp("page") / "r.html")


def words(path: Path) -> str:
    text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", path.read_text("utf-8"), flags=re.DOTALL)
    return " ".join(text.split())


def test_the_page_says_what_the_run_says(finished: Run, page: Path) -> None:
    said, score = words(page), finished.score()
    assert score is not None
    assert f"{score.log_loss.value:.4f} log loss out of fold" in said
    for name in ("fold 0", "fold 1", finished.record.data_fingerprint, "backbone"):
        assert name in said
    for name in finished.labels.names:
        assert name in said
    assert said.count("epoch") >= 3
    assert "GiB memory" in said
    assert "How deep answers may go" in said


def test_the_page_stands_alone(page: Path) -> None:
    text = page.read_text("utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert sources
    assert all(source.startswith(("data:image/jpeg;base64,", "#")) for source in sources)
    assert "url(" not in text
    assert "default-src 'none'" in text


def test_mistaken_photos_have_a_map_beside_them(finished: Run, page: Path) -> None:
    table = Predictions.load(finished.predictions_path)
    truth = np.array([table.classes.index(table.truth()[id_]) for id_ in table.ids])
    wrong = int((table.probabilities().argmax(axis=1) != truth).sum())
    maps = page.read_text("utf-8").count('alt="what speaks for either class"')
    assert (maps > 0) == (wrong > 0)
    assert wrong > 0, "the tiny run should make some mistakes for this test to see anything"


def test_a_blend_has_a_page_with_its_weights(finished: Run, tmp_path: Path) -> None:
    made, _ = make_blend([finished], [look_again(finished, ("plain", "flip"))], 2, tmp_path / "b")
    said = words(report_page(Subject.open(tmp_path / "b"), tmp_path / "b.html"))
    assert "A blend of 1 run" in said
    assert commands(tmp_path / "b.html")[0] == [
        *("chajong", "blend", str(finished.folder)),
        *("--budget", "2", "--out", f"{tmp_path}/b-again"),
    ]
    for member in made.members:
        for view, weight in zip(member.views, member.weights, strict=True):
            assert f"{view} {weight:.3f}" in said


def test_a_run_that_is_not_done_has_a_page_without_a_score(finished: Run, tmp_path: Path) -> None:
    young = tmp_path / "young"
    ignore = shutil.ignore_patterns("fold-1", "oof.parquet", "score.json")
    shutil.copytree(finished.folder, young, ignore=ignore)
    said = words(report_page(Subject.open(young), tmp_path / "p.html"))
    assert "1 of 2 models" in said
    assert "fold 0" in said
    with pytest.raises(RunError, match="is no run"):
        Subject.open(tmp_path)


def test_a_network_without_places_is_named(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chajong.training.heat.heat", lambda *_: None)
    said = words(report_page(Subject.open(finished.folder), tmp_path / "p.html"))
    assert "No heat maps: test_resnet has no features that keep their places." in said


def copied(finished: Run, folder: Path, hour: int, log_loss: float) -> Path:
    """The same run, as if it had been started at that hour and scored so."""
    shutil.copytree(finished.folder, folder)
    when = f"2026-01-31T{hour:02}:00:00+09:00"
    edit(folder / "run.json", lambda record: record.update(created=when))
    edit(folder / "score.json", lambda score: score["log_loss"].update(value=log_loss))
    return folder


def said_beside(folder: Path) -> str:
    """What the page says under the heading about what was before."""
    said = words(report_page(Subject.open(folder), folder.with_suffix(".html")))
    return said.split("Beside the best before it", 1)[1].split("How sure, and how right", 1)[0]


def test_it_is_compared_with_the_best_that_was_started_earlier(
    finished: Run, tmp_path: Path
) -> None:
    for hour, (name, log_loss) in enumerate(
        [("first", 0.9), ("best", 0.7), ("own", 0.8), ("later", 0.1)]
    ):
        copied(finished, tmp_path / name, hour, log_loss)
    assert "own cannot be told from best" in said_beside(tmp_path / "own")
    assert "later cannot be told from best" in said_beside(tmp_path / "later")
    alone = "It is the first with a score of these photos here."
    assert alone in said_beside(tmp_path / "first")
    edit(tmp_path / "own" / "run.json", lambda record: record.update(data_fingerprint="0" * 16))
    assert alone in said_beside(tmp_path / "own")


def test_blends_are_compared_too(finished: Run, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    member = Run.load(copied(finished, runs / "member", 1, 0.9))
    make_blend([member], [look_again(member, ("plain", "flip"))], 2, tmp_path / "blend")
    # Its own member was before it, in another folder.
    assert re.search(r"blend (\S+ ){1,5}member", said_beside(tmp_path / "blend"))
    shutil.copytree(tmp_path / "blend", runs / "blend")
    copied(finished, runs / "early", 2, 0.9)
    late = copied(finished, runs / "late", 3, 0.9)

    when = "2026-01-31T02:30:00+09:00"
    edit(runs / "blend" / "blend.json", lambda blend: blend["made"].update(created=when))

    def scored(log_loss: float) -> None:
        edit(runs / "blend" / "score.json", lambda s: s["log_loss"].update(value=log_loss))

    scored(0.5)
    assert re.search(r"late (\S+ ){1,5}blend", said_beside(late))
    assert re.search(r"early (\S+ ){1,5}member", said_beside(runs / "early"))
    scored(1.5)
    assert re.search(r"late (\S+ ){1,5}(early|member)", said_beside(late))
    (runs / "blend" / "score.json").write_text("{}", encoding="utf-8")
    assert re.search(r"late (\S+ ){1,5}(early|member)", said_beside(late))


def test_a_blend_of_unknown_age_is_not_compared(finished: Run, tmp_path: Path) -> None:
    make_blend([finished], [look_again(finished, ("plain",))], 1, tmp_path / "blend")
    edit(tmp_path / "blend" / "blend.json", lambda blend: blend.update(made=None))
    assert "When it was made is not on record" in said_beside(tmp_path / "blend")
    page = words(tmp_path / "blend.html")
    assert "that got no weight, is not on record" in page


@pytest.mark.parametrize("is_there", [True, False])
def test_a_damaged_rival_costs_the_comparison_and_not_the_report(
    finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], is_there: bool
) -> None:
    for hour, name in enumerate(["first", "second"]):
        copied(finished, tmp_path / name, hour, 0.9)
    for table in (tmp_path / "first").rglob("oof.parquet"):
        table.write_bytes(b"no table") if is_there else table.unlink()
    said = words(report_page(Subject.open(tmp_path / "second"), tmp_path / "p.html"))
    assert re.search(r"Not compared: .*/first/\S*oof\.parquet", said)
    assert "Sure and wrong" in said
    assert "not compared with the best before it: " in capsys.readouterr().err


def test_lost_weights_cost_the_maps_and_not_the_report(
    finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished.folder, tmp_path / "run")
    for path in (tmp_path / "run").rglob("*.safetensors"):
        path.unlink()
    page = report_page(Subject.open(tmp_path / "run"), tmp_path / "p.html")
    assert "what speaks for either class" not in page.read_text("utf-8")
    assert re.search(r"No heat maps: .*/weights\.ema\.safetensors", words(page))
    assert "no heat maps: " in capsys.readouterr().err


def commands(page: Path) -> list[list[str]]:
    """The commands on a page, as a shell would read them."""
    found = re.findall(r"<pre>(chajong [^<]*)</pre>", page.read_text("utf-8"))
    return [shlex.split(unescape(line)) for line in found]


def test_the_commands_on_the_page_make_the_run_again(tmp_path: Path) -> None:
    data, cache = write_photos(tmp_path / "my photos", per_class=6), tmp_path / "cache"
    first = sorted(path.relative_to(data).as_posix() for path in data.rglob("*.jpg"))[0]
    path = tmp_path / "it's.csv"
    Corrections((Decision(first, "exclude", None, "Kim", now()),)).save(path)
    recipe = make_recipe(train_epochs=1)
    options = Options(tmp_path / "run 1", layout="imagefolder", cache_folder=cache, device=CPU)
    run = train(data, recipe, replace(options, corrections=path))
    assert run is not None
    page = report_page(Subject.open(run.folder), tmp_path / "p.html")
    rerun, again = commands(page)
    assert rerun[:3] == ["chajong", "runs", "rerun"]
    code, said = command([*again[1:], "--cache", str(cache)], tmp_path / "said.txt")
    assert code == 0, said
    made = Run.load(tmp_path / "run 1-again")
    assert made.record.data_fingerprint == run.record.data_fingerprint
    assert (made.record.layout, made.record.corrections_file) == ("imagefolder", str(path))
    # What was trained is found, with the layout and the corrections of then.
    code, said = command([*rerun[1:], "--cache", str(cache)], tmp_path / "said.txt")
    assert code == 0, said
    assert "bit-equal: 2 file(s) of weights of 2 model(s)" in said


def test_a_comparison_has_a_page(finished: Run, tmp_path: Path) -> None:
    table = Predictions.load(finished.predictions_path)
    sharper = normalised((3 * table.log_probs).reshape(-1, len(table.classes)))
    other = replace(table, log_probs=sharper.reshape(table.log_probs.shape))
    other.save(tmp_path / "other.parquet")
    sides = open_side([finished.predictions_path]), open_side([tmp_path / "other.parquet"])
    found = compare(pair(*sides), ("<b>A", "B"))
    found.save(tmp_path / "c.json")
    page = comparison_page(Comparison.load(tmp_path / "c.json"), tmp_path / "c.html")
    said = words(page)
    assert f"{found.log_loss_a:.4f} {found.log_loss_b:.4f} {found.difference.value:+.4f}" in said
    assert found.verdict in said
    for each in found.classes:
        assert each.name in said
    assert "<b>A" not in page.read_text("utf-8")
