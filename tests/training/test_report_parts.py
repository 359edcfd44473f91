"""Every part of a report is there and says what the run's own files say."""

import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from chajong.blending.subject import Subject
from chajong.labels import Labels
from chajong.metrics import log_loss
from chajong.predictions import Predictions
from chajong.progress import duration
from chajong.reporting.report_page import _views, report_page
from chajong.run import Run
from chajong.suspects import find_suspects
from tests.runs import edit

SECTIONS = (
    *("score", "sure", "classes", "pairs", "mistakes", "suspects", "views", "training", "again"),
)
CHARTS = {
    "sure": ["How often answers are right", "How often they are wrong"],
    "training": ["Loss", "Right answers", "Learning rate", "Waiting for data"],
}
LEVEL = {
    "level": "maker",
    "num_groups": 2,
    "log_loss": {"value": 0.4321, "low": 0.3, "high": 0.5},
    "top1": {"value": 0.8765, "low": 0.8, "high": 0.9},
}


@pytest.fixture(scope="module")
def run(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The finished run, as if its classes had makers and two of them were taken for each other."""
    folder = tmp_path_factory.mktemp("parts") / "run"
    shutil.copytree(finished.folder, folder)
    table = Predictions.load(finished.predictions_path)
    log_probs, own = table.log_probs.copy(), table.classes.index("빨강")
    wrong = [row for row, label in enumerate(table.labels or ()) if label == "빨강"][:2]
    log_probs[wrong] = log_probs[wrong][..., _swapped(len(table.classes), 0, own)]
    replace(table, log_probs=log_probs).save(folder / "oof.parquet")
    edit(folder / "score.json", lambda score: score.update(levels=[LEVEL]))
    return Run.load(folder)


@pytest.fixture(scope="module")
def sections(run: Run) -> dict[str, str]:
    """The HTML of each section by its name."""
    path = report_page(Subject.open(run.folder), run.folder / "report.html")
    parts = re.split(r'<h2 id="(\w+)">', path.read_text("utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def table(run: Run) -> Predictions:
    return Predictions.load(run.predictions_path)


def _swapped(num: int, a: int, b: int) -> list[int]:
    order = list(range(num))
    order[a], order[b] = b, a
    return order


def plain(html: str) -> str:
    text = unescape(re.sub(r"<wbr>", "", html))
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def rows(html: str, heading: str) -> list[list[str]]:
    """The cells of the table that has such a column."""
    (body,) = (
        body
        for head, body in re.findall(r"<thead>(.*?)</thead>(.*?)</table>", html, re.DOTALL)
        if f">{heading}</th>" in head
    )
    found = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [[plain(cell) for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)] for row in found]


def answers(table: Predictions) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Probabilities, the true class and the answer of each photo."""
    probs = table.probabilities().astype(np.float64)
    truth = np.array([table.classes.index(label) for label in table.labels or ()])
    return probs, truth, probs.argmax(axis=1)


def test_no_section_is_missing_or_empty(run: Run, sections: dict[str, str]) -> None:
    assert tuple(sections) == SECTIONS
    page = (run.folder / "report.html").read_text("utf-8")
    assert tuple(re.findall(r'<a href="#(\w+)">', page)) == SECTIONS
    for name, html in sections.items():
        assert len(plain(html).split()) > 12, name


def test_no_chart_is_missing_or_empty(sections: dict[str, str]) -> None:
    for name, html in sections.items():
        drawn = re.findall(r'<svg[^>]* aria-label="([^"]*)">(.*?)</svg>', html, re.DOTALL)
        assert [title for title, _ in drawn] == CHARTS.get(name, [])
        for title, svg in drawn:
            paths = re.findall(r'<path class="line \w+" d="([^"]*)"', svg)
            assert paths, title
            assert all(" L" in path for path in paths), title
            assert svg.count('class="tick"') >= 4, title
    assert sections["sure"].count('class="bar"') == sections["sure"].count("<circle") >= 3


def test_every_figure_has_its_interval(run: Run, sections: dict[str, str]) -> None:
    score = run.score()
    assert score is not None
    wanted = [
        f"{one.value:.4f} {one.low:.4f} to {one.high:.4f}"
        for one in (
            getattr(score, name) for name in ("log_loss", "top1", "top5", "macro_f1", "ece")
        )
    ]
    assert [cells[1] for cells in rows(sections["score"], "value and interval")] == wanted
    assert rows(sections["score"], "level") == [
        ["maker", "2", "0.4321 0.3000 to 0.5000", "0.876 0.800 to 0.900"]
    ]


def test_how_many_are_wrong_is_said_for_every_share(
    table: Predictions, sections: dict[str, str]
) -> None:
    probs, truth, found = answers(table)
    said = rows(sections["sure"], "answered")
    assert [cells[0] for cells in said] == [
        f"{share} %" for share in (*range(10, 100, 10), 95, 100)
    ]
    wrong = 100 * (found != truth).mean()
    assert said[-1][1:] == [f"{100 * probs.max(axis=1).min():.1f} %", f"{wrong:.2f} %"]
    risks = rows(sections["sure"], "stated risk")
    assert [(cells[0], len(cells)) for cells in risks] == [("1%", 7), ("2%", 7), ("5%", 7)]


def test_the_worst_class_is_the_first(table: Predictions, sections: dict[str, str]) -> None:
    probs, truth, found = answers(table)
    losses = -np.log(probs[np.arange(len(truth)), truth])
    of_class = np.array([losses[truth == k].mean() for k in range(len(table.classes))])
    said = rows(sections["classes"], "most often taken for")
    assert [cells[0] for cells in said] == [table.classes[k] for k in np.argsort(-of_class)]
    worst = int(of_class.argmax())
    mine = found[truth == worst]
    taken = np.bincount(mine[mine != worst], minlength=len(table.classes))
    assert said[0][1:] == [
        str(len(mine)),
        f"{of_class.max():.3f}",
        f"{100 * (mine == worst).mean():.0f} %",
        f"{table.classes[int(taken.argmax())]} {taken.max()} times",
    ]


def test_each_pair_counts_its_mistakes(table: Predictions, sections: dict[str, str]) -> None:
    _, truth, found = answers(table)
    names, num = table.classes, np.zeros((len(table.classes),) * 2, int)
    np.add.at(num, (truth, found), 1)
    wanted = {}
    for a in range(len(names)):
        for b in range(a):
            if both := num[a, b] + num[b, a]:
                of = num[a].sum() + num[b].sum()
                wanted[frozenset((names[a], names[b]))] = f"{both} of {of} photos of both"
    pairs = sections["pairs"].split('<div class="pair">')[1:]
    said = {}
    for pair in pairs:
        ours = frozenset(plain(name) for name in re.findall(r"<b>(.*?)</b>", pair))
        said[ours] = plain(pair.split("</div>", 1)[0])
        assert pair.count('<div class="shot">') >= 2
        # A photo and a map in each.
        assert pair.count("<img ") == 2 * pair.count('<div class="shot">')
    assert said == wanted
    counts = [int(text.split()[0]) for text in said.values()]
    assert counts == sorted(counts, reverse=True)
    taken = re.findall(r"(\d+) taken for the other<", sections["pairs"])
    assert sum(map(int, taken)) == int((truth != found).sum())


def figures(html: str) -> list[str]:
    """What is said below each photo that can be seen."""
    found = re.findall(r"<figure.*?</figure>", html, re.DOTALL)
    assert all('src="data:image/jpeg;base64,' in figure for figure in found)
    return [plain(figure) for figure in found]


def test_the_surest_mistakes_come_first(table: Predictions, sections: dict[str, str]) -> None:
    probs, truth, found = answers(table)
    wrong = np.flatnonzero(truth != found)
    order = wrong[np.argsort(-probs[wrong].max(axis=1), kind="stable")][:24]
    said = figures(sections["mistakes"])
    assert [text.rsplit(" ", 1)[1] for text in said] == [f"{probs[k].max():.1%}" for k in order]
    assert {text.split(" · ")[0] for text in said} == {
        f"{table.classes[truth[k]]} taken for {table.classes[found[k]]} {Path(table.ids[k]).name}"
        for k in order
    }


def test_suspects_are_listed_as_the_command_does(
    run: Run, table: Predictions, sections: dict[str, str]
) -> None:
    worst = find_suspects(table, run.labels, run.manifest()).table.head(24)
    assert worst.height > 5
    assert figures(sections["suspects"]) == [
        f"{row['label']} rather {row['suggested']} ({row['p_suggested']:.0%}) "
        f"{Path(row['id']).name} · {row['p_given']:.2%} for its label"
        for row in worst.iter_rows(named=True)
    ]


def test_every_view_has_its_loss(table: Predictions, sections: dict[str, str]) -> None:
    _, truth, _ = answers(table)
    losses = -table.log_probs[np.arange(len(truth)), :, truth].mean(axis=0)
    assert table.views == ("plain", "flip")
    assert rows(sections["views"], "log loss alone") == [
        ["run", view, "0.500", f"{loss:.4f}"]
        for view, loss in zip(table.views, losses, strict=True)
    ]


def test_a_view_by_itself_is_scored_as_the_whole(run: Run, table: Predictions) -> None:
    # Equal classes count as one: two of the names are made one here.
    names = run.labels.names
    labels = Labels(names, ((names[0], names[1]),))
    subject = replace(Subject.open(run.folder), runs=(replace(run, labels=labels),))
    _, truth, _ = answers(table)
    for place, (_, view, _, loss) in enumerate(_views(subject)):
        probs = np.exp(table.log_probs[:, place].astype(np.float64))
        assert view == table.views[place]
        assert loss == pytest.approx(log_loss(probs, truth, labels.canonical), abs=1e-6)
        assert loss != pytest.approx(log_loss(probs, truth), abs=1e-6)


def test_each_model_says_what_it_cost(run: Run, sections: dict[str, str]) -> None:
    said = rows(sections["training"], "waiting for data")
    for cells, name in zip(said, ("0", "1"), strict=True):
        facts, history = run.facts(name), run.history(name)
        speed, waiting = (
            np.mean([entry[key] for entry in history]) for key in ("photos_per_s", "waiting_share")
        )
        memory = facts["peak_memory_bytes"]["memory"] / 2**30
        assert memory > 0.1
        assert cells == [
            f"fold {name}",
            str(len(history)),
            duration(facts["seconds"]),
            f"{speed:,.0f}",
            f"{waiting:.1%}",
            f"{memory:.1f} GiB memory",
        ]


def test_the_recipe_and_all_fingerprints_are_there(run: Run, sections: dict[str, str]) -> None:
    said, record = plain(sections["again"]), run.record
    for fact in (record.data_fingerprint, record.recipe_fingerprint, record.created):
        assert fact in said
    assert str(record.environment["code"]) in said
    assert unescape(sections["again"]).count(run.recipe.to_yaml()) == 1
