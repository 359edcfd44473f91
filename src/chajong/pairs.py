"""Predictions of two sides on the photos that both held out.

A side is a run, a blend or an out-of-fold table, or several trainings of one recipe with different
seeds. Where they do not know the same classes, both choose among those that both know: a choice
among fewer is easier, and says nothing of who is better.

Shapes: n photos, s trainings of a side, c classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chajong.blending.blend import Blend
from chajong.errors import PredictionsError, RunError
from chajong.experiments.changes import changes_between, recipe_paths
from chajong.file_names import OUT_OF_FOLD
from chajong.held_out import out_of_fold
from chajong.labels import Labels
from chajong.manifest import Manifest
from chajong.metrics import outcomes
from chajong.pooling import log_total
from chajong.predictions import Predictions
from chajong.run import Run
from chajong.wording import listed

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

_SEEDS = {"train.seed", "folds.seed"}


@dataclass(frozen=True, eq=False)
class Side:
    """What is compared with another.

    Attributes:
        name: The first folder or file.
        tables: s out-of-fold tables.
        equal: Pairs of classes that count as one.
        runs: The runs that the tables are of; empty for a blend or a file.
        manifest: The photos, with their near-duplicates; none where they are not known.
        about: What it is, where that is no run.
        caution: What keeps its score from being all of the truth.
    """

    name: str
    tables: tuple[Predictions, ...]
    equal: tuple[tuple[str, str], ...]
    runs: tuple[Run, ...] = ()
    manifest: Manifest | None = None
    about: str = ""
    caution: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse trainings that are not of one recipe, or not different.

        Raises:
            RunError: If several runs differ in more than their seeds.
            PredictionsError: If a table is of photos that the model may have learned from, or
                has no answers.
        """
        for run in self.runs[1:]:
            others = recipe_paths(self.runs[0], run) - _SEEDS
            facts = [
                (r.record.data_fingerprint, r.record.weights, r.record.teacher_fingerprint)
                for r in (self.runs[0], run)
            ]
            if others or facts[0] != facts[1]:
                what = listed(sorted(others)) if others else "their data, first weights or teacher"
                raise RunError(
                    f"{self.runs[0].folder} and {run.folder} are not trainings of one recipe: "
                    f"they differ in {what}. Runs of a side may differ in their seeds only."
                )
        for table in self.tables:
            if table.kind == "test" or table.labels is None:
                raise PredictionsError(
                    f"{self.name} holds predictions without answers, of kind {table.kind!r}. "
                    "Compare runs, blends, or out-of-fold tables (oof.parquet)."
                )

    @cached_property
    def answers(self) -> tuple[dict[str, str], ...]:
        """Look up which photos can be scored.

        Returns:
            For each table the true class of each photo that has a prediction and an answer.
        """
        return tuple(
            {
                id_: label
                for id_, label, good in zip(
                    table.ids, table.labels or [None] * len(table.ids), table.ok, strict=True
                )
                if good and label is not None
            }
            for table in self.tables
        )

    @cached_property
    def ids(self) -> set[str]:
        """Look up which photos every training held out and can be scored on.

        Returns:
            Their ids.
        """
        return set(self.answers[0]).intersection(*self.answers[1:])

    @cached_property
    def contents(self) -> dict[str, str]:
        """Look up what the photos' files hold.

        Returns:
            The hash of each photo's file; empty where it is not known.
        """
        if self.manifest is None:
            return {}
        return dict(zip(self.manifest.table["id"], self.manifest.table["sha256"], strict=True))


@dataclass(frozen=True, eq=False)
class Pairs:
    """What two sides lost on each photo that both held out.

    Attributes:
        ids: n photos, in order.
        losses_a: (s, n) -log of the probability of the true class, in nats.
        losses_b: The same of the other side, which may have another number of trainings.
        right_a: (s, n) whether the likeliest class is the true one.
        right_b: The same of the other side.
        groups: (n,) photos with the same number are near-duplicates.
        classes: n names of true classes; of equal ones the first.
        left_out: How many photos are not compared, by the reason.
    """

    ids: tuple[str, ...]
    losses_a: Floats
    losses_b: Floats
    right_a: NDArray[np.bool_]
    right_b: NDArray[np.bool_]
    groups: Places
    classes: tuple[str, ...]
    left_out: Mapping[str, int]

    def __post_init__(self) -> None:
        """Refuse sides without a photo in common, and trainings that are one training.

        Raises:
            PredictionsError: If there are no photos, or two trainings of a side answer alike.
        """
        if not self.ids:
            reasons = "; ".join(f"{count:,} {why}" for why, count in self.left_out.items())
            raise PredictionsError(
                f"There is no photo to compare on: {reasons or 'both tables are empty'}. Both "
                "sides must have held out some of the same photos."
            )
        for losses in (self.losses_a, self.losses_b):
            if len({each.tobytes() for each in losses}) < len(losses):
                raise PredictionsError(
                    "Two trainings of one side answer alike on every photo, so they are one "
                    "training twice and say nothing of its spread. Give runs with other seeds: "
                    "--set train.seed=2."
                )

    @cached_property
    def gaps(self) -> Floats:
        """Subtract what the first side lost from what the second lost.

        Returns:
            (n,) for each photo, the mean over the trainings of each side.
        """
        gaps: Floats = self.losses_b.mean(axis=0) - self.losses_a.mean(axis=0)
        return gaps


def open_side(paths: Sequence[Path]) -> Side:
    """Open what is to be compared.

    Args:
        paths: Folders of runs or blends, or Parquet files of out-of-fold predictions; several
            are trainings of one recipe with different seeds.

    Returns:
        The side.

    Raises:
        ChajongError: If one is none of these, has no out-of-fold predictions, or they do not
            belong to one recipe.
    """  # noqa: DOC502 raised by what it calls
    path = paths[0]
    if any(each.suffix == ".parquet" or Blend.is_in(each) for each in paths):
        if Blend.is_in(path) and len(paths) == 1:
            return _open_blend(path)
        tables = tuple(Predictions.load(each) for each in paths)
        equal = Labels.of(tables[0].classes).equal
        about = f"{path} is a table; its recipe is not known"
        runs = _runs_of(path)
        manifest = runs[0].manifest() if runs else None
        return Side(str(path), tables, equal, (), manifest, about, _caution(runs))
    return side_of(tuple(Run.load(each) for each in paths))


def side_of(runs: tuple[Run, ...]) -> Side:
    """Make trainings of one recipe a side.

    Args:
        runs: At least one.

    Returns:
        The side.

    Raises:
        ChajongError: If one has no out-of-fold predictions, or they do not belong to one recipe.
    """  # noqa: DOC502 raised by what it calls
    first, tables = runs[0], tuple(out_of_fold(run) for run in runs)
    manifest, caution = first.manifest(), _caution(runs)
    return Side(str(first.folder), tables, first.labels.equal, runs, manifest, "", caution)


def photos_of(table: Path) -> Manifest | None:
    """Find the photos that a table of predictions is of, if it lies in a run or a blend.

    Args:
        table: The table's file.

    Returns:
        Their manifest; none where it is not known.
    """
    runs = _runs_of(table)
    return runs[0].manifest() if runs else None


def _runs_of(table: Path) -> tuple[Run, ...]:
    # The run that it lies in, or the members of the blend, as far as they are where they were.
    folder = table.parent
    if Blend.is_in(folder):
        folders = [Path(member.run) for member in Blend.load(folder).members]
    else:
        folders = [folder, folder.parent]
    return tuple(Run.load(each) for each in folders if Run.is_in(each))


def _caution(runs: Sequence[Run]) -> tuple[str, ...]:
    return tuple(line for run in runs for line in run.caution)


def pair(a: Side, b: Side) -> Pairs:
    """Put two sides beside each other on the photos that both held out.

    Args:
        a: One side.
        b: The other.

    Returns:
        What they lost on photos of the same id, content and class (equal ones count as one), as
        a choice among the classes that both know.

    Raises:
        PredictionsError: If there are none.
    """  # noqa: DOC502 raised by `Pairs`
    labels = _all_labels(a, b)
    counted = _counted(labels)
    shared = a.ids & b.ids
    relabelled = {
        id_
        for id_ in shared
        if len({counted[known[id_]] for side in (a, b) for known in side.answers}) > 1
    }
    changed = {
        id_ for id_ in shared - relabelled if len({*_contents(a, id_), *_contents(b, id_)}) > 1
    }
    ids = sorted(shared - relabelled - changed)
    reasons = {
        "held out by the first only": len(a.ids - b.ids),
        "held out by the second only": len(b.ids - a.ids),
        "of another class on the other side": len(relabelled),
        "of another content on the other side": len(changed),
        "held out by some trainings of a side only": _unsteady(a) + _unsteady(b),
    }
    known = _known_to_both(a, b, counted)
    outcomes_a, outcomes_b = (_outcomes(side, ids, labels, known) for side in (a, b))
    return Pairs(
        ids=tuple(ids),
        losses_a=outcomes_a[0],
        losses_b=outcomes_b[0],
        right_a=outcomes_a[1],
        right_b=outcomes_b[1],
        groups=_groups(a, b, ids),
        classes=tuple(counted[a.answers[0][id_]] for id_ in ids),
        left_out={why: count for why, count in reasons.items() if count},
    )


def known_differences(a: Side, b: Side) -> tuple[str, ...]:
    """Say what is known to be different between two sides beside what they predict.

    Args:
        a: One side.
        b: The other.

    Returns:
        A line for each value of the recipes, and for data, weights and folds, that is not the
        same; or what a side is, where it is no run. Then what keeps figures from being trusted.
    """
    counted = _counted(_all_labels(a, b))
    known = _known_to_both(a, b, counted)
    unsure = [
        f"{'classes':<12} {len(own - known)} known to {side.name} only; both choose among the "
        f"{len(known)} that both know"
        for side in (a, b)
        if (own := {counted[name] for table in side.tables for name in table.classes}) > known
    ]
    unsure += [line for side in (a, b) for line in side.caution]
    if a.manifest is None and b.manifest is None:
        unsure.append("near-duplicates are not known and count as photos of their own")
    if not a.runs or not b.runs:
        return (*(side.about for side in (a, b) if side.about), *unsure)
    found = changes_between(a.runs[0], b.runs[0])
    parts = {name: getattr(found, name) for name in ("recipe", "data", "weights", "teacher")}
    lines = [f"{part:<12} {change}" for part, changes in parts.items() for change in changes]
    several = {run.record.environment.get("code") for run in (*a.runs, *b.runs)}
    if len(several) > 1:
        lines.append(f"{'code':<12} {len(several)} versions of this program trained these runs")
    return (*(lines or ["nothing in recipe, data, first weights and teacher differs"]), *unsure)


def _open_blend(path: Path) -> Side:
    blend, file = Blend.load(path), path / OUT_OF_FOLD
    about = f"{path} is a blend of {listed([Path(member.run).name for member in blend.members])}"
    tables, runs = (Predictions.load(file),), _runs_of(file)
    manifest = runs[0].manifest() if runs else None
    return Side(str(path), tables, blend.equal, (), manifest, about, _caution(runs))


def _contents(side: Side, id_: str) -> tuple[str, ...]:
    return (side.contents[id_],) if id_ in side.contents else ()


def _unsteady(side: Side) -> int:
    return len(set().union(*side.answers) - side.ids)


def _all_labels(a: Side, b: Side) -> Labels:
    names = {name for side in (a, b) for table in side.tables for name in table.classes}
    equal = dict.fromkeys([*a.equal, *b.equal])
    return Labels(tuple(sorted(names)), tuple(pair for pair in equal if set(pair) <= names))


def _counted(labels: Labels) -> dict[str, str]:
    # The name that stands for each class: of equal ones the first.
    return dict(zip(labels.names, [labels.names[place] for place in labels.canonical], strict=True))


def _known_to_both(a: Side, b: Side, counted: Mapping[str, str]) -> set[str]:
    tables = (*a.tables, *b.tables)
    return set.intersection(*({counted[name] for name in table.classes} for table in tables))


def _outcomes(
    side: Side, ids: Sequence[str], labels: Labels, known: set[str]
) -> tuple[Floats, NDArray[np.bool_]]:
    if not ids:
        return np.zeros((len(side.tables), 0)), np.zeros((len(side.tables), 0), np.bool_)
    counted = _counted(labels)
    losses, right = [], []
    for table, answers in zip(side.tables, side.answers, strict=True):
        kept = [place for place, name in enumerate(table.classes) if counted[name] in known]
        names = tuple(table.classes[place] for place in kept)
        first = {counted[name]: name for name in reversed(names)}
        # Equal by way of a class that this side does not know, too.
        own = Labels(names, tuple((n, first[counted[n]]) for n in names if n != first[counted[n]]))
        said = table.log_probs_of(ids)[:, kept]
        probs = np.exp(said - log_total(said))  # of the shared classes, however unlikely they are
        found = outcomes(probs, own.indices([answers[id_] for id_ in ids]), own.canonical)
        losses.append(found.losses)
        right.append(found.top == found.truth)
    return np.stack(losses), np.stack(right)


def _groups(a: Side, b: Side, ids: Sequence[str]) -> Places:
    # Of the first side that knows them all; without any, each photo stands for itself.
    for side in (a, b):
        if side.manifest is not None:
            known = side.manifest.groups()
            if known.keys() >= set(ids):
                return np.unique([known[id_] for id_ in ids], return_inverse=True)[1]
    return np.arange(len(ids))
