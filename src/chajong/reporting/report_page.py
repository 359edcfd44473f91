"""A run or a blend as a page: how good it is, where it is wrong, and how to make it again."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chajong.blending.subject import Subject
from chajong.comparison import Comparison
from chajong.depths import Depths
from chajong.diagnosis import Answer, Diagnosis, Mistaken
from chajong.errors import ChajongError
from chajong.experiments.again import (
    blend_command,
    rerun_command,
    review_command,
    train_commands,
)
from chajong.manifest import Manifest
from chajong.metrics import log_loss
from chajong.predictions import Predictions
from chajong.progress import duration, say
from chajong.reporting.charts import Chart, Series, chart
from chajong.reporting.heat_pictures import Question, heat_pictures
from chajong.reporting.page import Tile, render_page, thumbnails
from chajong.reporting.rival import beside_the_best
from chajong.risk import SHOWN_RISKS, Risks, table_of
from chajong.run import Run
from chajong.suspects import find_suspects
from chajong.wording import first_line

PAGE = "report.html"

_NUM_CLASSES, _NUM_PAIRS, _NUM_MISTAKES, _NUM_SUSPECTS, _NUM_SHOTS = 20, 12, 24, 24, 2


class Shot(NamedTuple):
    """A photo beside what in it speaks for either class of a pair."""

    tile: Tile
    question: Question


class Half(NamedTuple):
    """One class of a pair: how often it is taken for the other, with photos."""

    name: str
    num: int
    shots: tuple[Shot, ...]


class Pair(NamedTuple):
    """Two classes that are taken for each other."""

    facts: Mistaken
    sides: tuple[Half, Half]


class Heat(NamedTuple):
    """Maps of what speaks for either class of a pair.

    Attributes:
        pictures: A data URI for each question that has a map.
        why: Why there are none.
    """

    pictures: dict[Question, str]
    why: str = ""


class Training(NamedTuple):
    """How the models of a run were trained."""

    run: Run
    charts: tuple[Chart, ...]
    rows: tuple[tuple[str, ...], ...]
    again: tuple[str, ...]


def report_page(subject: Subject, path: Path) -> Path:
    """Write a report as one HTML file.

    Args:
        subject: The run or the blend.
        path: The file to make or replace.

    Returns:
        The same path.

    Raises:
        ResourceError: If it cannot be written.
    """  # noqa: DOC502 raised by `render_page`
    album = _Album(subject.manifest)
    table = subject.table
    groups = subject.manifest.groups()
    found = None if table is None else Diagnosis.of(table, subject.labels, groups)
    pairs = () if found is None else _pairs(found, album)
    sure = () if found is None else found.surest_mistakes(_NUM_MISTAKES)
    mistakes = tuple(map(album.mistake, sure))
    suspects = () if table is None else _suspects(subject, table, album)
    shots = [shot for pair in pairs for side in pair.sides for shot in side.shots]
    tiles = [*mistakes, *suspects, *(shot.tile for shot in shots)]
    return render_page(
        "report.html",
        path,
        subject=subject,
        score=subject.score,
        beside=subject.score and beside_the_best(subject.folder, subject.runs[0], subject.started),
        reliability=None if found is None else _reliability(found),
        coverage=None if found is None else _coverage(found),
        stated=() if table is None else _stated(subject, table),
        answered=() if found is None else found.answered(),
        classes=() if found is None else found.classes(),
        num_classes=_NUM_CLASSES,
        pairs=pairs,
        mistakes=mistakes,
        suspects=suspects,
        review=review_command(subject.runs[0]),
        views=_views(subject),
        trainings=[_training(run) for run in subject.runs],
        thumbs=thumbnails(tile.path for tile in tiles),
        blend_again=subject.blend and blend_command(subject.folder, subject.blend),
        heat=_heat(subject, [shot.question for shot in shots]),
    )


def comparison_page(found: Comparison, path: Path) -> Path:
    """Write a comparison as one HTML file.

    Args:
        found: What `chajong compare` found.
        path: The file to make or replace.

    Returns:
        The same path.

    Raises:
        ResourceError: If it cannot be written.
    """  # noqa: DOC502 raised by `render_page`
    return render_page("comparison.html", path, found=found)


class _Album:
    # Photos by their ids.

    def __init__(self, manifest: Manifest) -> None:
        rows = manifest.table.select("id", "path", "label", "part").iter_rows()
        self.manifest, self.photos = manifest, {id_: row for id_, *row in rows}

    def tile(self, id_: str, note: str = "", score: str = "") -> Tile:
        path, label, part = self.photos[id_]
        return Tile(id_, self.manifest.path_of(path), label or "", part, note, score)

    def mistake(self, answer: Answer) -> Tile:
        return self.tile(answer.id, f"taken for {answer.top}", f"{answer.confidence:.1%}")


def _pairs(found: Diagnosis, album: _Album) -> tuple[Pair, ...]:
    made = []
    for facts in found.mistaken()[:_NUM_PAIRS]:
        one, other = facts.name, facts.other
        shots = {
            own: tuple(
                Shot(tile, Question(tile.id, one, other))
                for tile in _side_by_side(found, album, own, another)
            )
            for own, another in ((one, other), (other, one))
        }
        sides = (Half(one, facts.num, shots[one]), Half(other, facts.num_back, shots[other]))
        made.append(Pair(facts, sides))
    return tuple(made)


def _side_by_side(found: Diagnosis, album: _Album, own: str, other: str) -> list[Tile]:
    # The surest photo, then those that are taken for the other class.
    right = [(answer, "answered right") for answer in found.taken(own, own, 1)]
    wrong = [(answer, f"taken for {other}") for answer in found.taken(own, other, _NUM_SHOTS)]
    return [album.tile(a.id, note, f"{a.confidence:.0%}") for a, note in (*right, *wrong)]


def _suspects(subject: Subject, table: Predictions, album: _Album) -> tuple[Tile, ...]:
    worst = find_suspects(table, subject.labels, subject.manifest).table.head(_NUM_SUSPECTS)
    return tuple(
        album.tile(
            row["id"],
            f"rather {row['suggested']} ({row['p_suggested']:.0%})"
            + (f"; a duplicate is {row['duplicate_says']}" if row["duplicate_says"] else ""),
            f"{row['p_given']:.2%} for its label",
        )
        for row in worst.iter_rows(named=True)
    )


def _heat(subject: Subject, questions: Sequence[Question]) -> Heat:
    # By the first run: members of a blend see much the same.
    run = subject.runs[0]
    if not questions:
        return Heat({})
    try:
        found = heat_pictures(run, Predictions.load(run.predictions_path), questions)
        none = f"{run.recipe.model.backbone} has no features that keep their places."
        return Heat(found, "" if found else none)
    except (ImportError, RuntimeError, ChajongError) as error:  # RuntimeError: a GPU that is full
        said = first_line(error)
        say(f"no heat maps: {said}")
        return Heat({}, said)


def _reliability(found: Diagnosis) -> Chart:
    bins = found.reliability()
    return chart(
        "How often answers are right",
        "how sure the models are",
        [
            Series("ideal", "faint", [(0, 0), (1, 1)]),
            Series("answers", "one", [(each.confidence, each.right) for each in bins]),
        ],
        x_range=(0, 1),
        y_range=(0, 1),
        bars=[(each.confidence, each.low, each.high) for each in bins],
        dots=True,
        percent=True,
    )


def _coverage(found: Diagnosis) -> Chart:
    wrong = ~found.right[np.argsort(-found.found.confidence, kind="stable")]
    num = np.arange(1, len(wrong) + 1)
    # Some hundred points draw the same line as all of them.
    chosen = np.unique(np.linspace(0, len(wrong) - 1, 300).astype(int))
    risks = (np.cumsum(wrong) / num)[chosen]
    points = list(zip((num[chosen] / len(wrong)).tolist(), risks.tolist(), strict=True))
    most = max(float(risks.max()), 0.01)
    return chart(
        "How often they are wrong",
        "share answered, the surest first",
        [Series("wrong answers", "two", points)],
        x_range=(0, 1),
        y_range=(0, most),
        percent=True,
    )


def _stated(subject: Subject, table: Predictions) -> list[tuple[str, ...]]:
    depths = Depths.of(subject.catalogue, subject.labels)
    risks = Risks.of(table, subject.labels, depths, subject.manifest.groups())
    return list(table_of([risks.stated(risk) for risk in SHOWN_RISKS]))


def _training(run: Run) -> Training:
    histories = [(name, run.history(name)) for name in run.done]
    rows = []
    for name, entries in histories:
        facts = run.facts(name)
        speed = sum(e["photos_per_s"] for e in entries) / max(len(entries), 1)
        waiting = sum(e["waiting_share"] for e in entries) / max(len(entries), 1)
        memory = facts.get("peak_memory_bytes", {})
        said = ", ".join(f"{value / 2**30:.1f} GiB {kind}" for kind, value in memory.items())
        took = duration(facts["seconds"])
        rows.append((name, str(len(entries)), took, f"{speed:,.0f}", f"{waiting:.1%}", said))
    again = (rerun_command(run), *train_commands(run))
    return Training(run, tuple(curves(histories)), tuple(rows), again)


def curves(histories: Sequence[tuple[str, list[dict[str, Any]]]]) -> Iterator[Chart]:
    """Draw what was measured from epoch to epoch.

    Args:
        histories: For each model its name and an entry an epoch.

    Yields:
        Charts of loss, right answers, learning rate and waiting; none before an epoch is done.
    """

    def lines(key: str, kind: str, said: str) -> list[Series]:
        return [
            Series(said, kind, [(entry["epoch"], entry[key]) for entry in entries])
            for _, entries in histories
            if entries and key in entries[0]
        ]

    if not any(entries for _, entries in histories):
        return
    loss = [
        *lines("loss", "faint", "training loss"),
        *lines("log_loss", "one", "held-out log loss"),
    ]
    yield chart("Loss", "epoch", loss, whole=True)
    if top1 := lines("top1", "one", "held-out top-1"):
        yield chart("Right answers", "epoch", top1, whole=True)
    yield chart("Learning rate", "epoch", lines("lr", "one", "learning rate"), whole=True)
    yield chart(
        "Waiting for data", "epoch", lines("waiting_share", "two", "share of the time"), whole=True
    )


def _views(subject: Subject) -> list[tuple[str, str, float | None, float | None]]:
    # Run, view, weight and log loss of the view alone, where they are known.
    if subject.blend is not None:
        return [
            (Path(member.run).name, view, weight, None)
            for member in subject.blend.members
            for view, weight in zip(member.views, member.weights, strict=True)
        ]
    table = subject.table
    if table is None:
        return []
    truth = subject.labels.indices(list(table.truth().values()))
    canonical = subject.labels.canonical
    ok, share = table.ok, 1 / len(table.views)
    return [
        (subject.name, view, share, log_loss(np.exp(said[ok]), truth[ok], canonical))
        for view, said in zip(table.views, np.moveaxis(table.log_probs, 1, 0), strict=True)
    ]
