"""From finished runs to a blend: look through more views, compare, choose, keep.

Shapes: n photos, k voices, c classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from chajong.blending.average import Asked, foretell_mean
from chajong.blending.blend import Averaging, Blend, Candidate, Making, Member
from chajong.blending.fit import Places, counted, standard_error
from chajong.blending.members import answers_of
from chajong.blending.methods import LINEAR_IN_LOGITS, METHODS, Table
from chajong.blending.nested import Selection, select_method
from chajong.errors import DataError, RunError
from chajong.evidence import MIN_PHOTOS
from chajong.file_names import OUT_OF_FOLD, SCORE
from chajong.labels import Labels
from chajong.pooling import Floats, in_turn, merged, spread
from chajong.predictions import Predictions
from chajong.progress import say
from chajong.record import now
from chajong.run import Run
from chajong.score import Score, score
from chajong.split import as_they_appear
from chajong.wording import listed

Ask = Callable[[Run, tuple[str, ...]], Floats]
"""From a run and v views to (j, u, v, c) log-probabilities of each of its j models."""


def make_blend(
    runs: Sequence[Run],
    tables: Sequence[Predictions],
    budget: int,
    folder: Path,
    ask: Ask | None = None,
    photos: Path | None = None,
) -> tuple[Blend, Score]:
    """Fit a blend on out-of-fold tables and write it with its nested predictions and score.

    Args:
        runs: The members, each once.
        tables: The out-of-fold table of each, all of the same photos.
        budget: Most views of a member, 1 or more.
        folder: Where to write `blend.json`, `oof.parquet` and `score.json`.
        ask: Asks about photos without labels, the same for all runs; none if there are none.
        photos: Where these lie, for the record.

    Returns:
        The blend, and the nested out-of-fold score.

    Raises:
        RunError: If the runs are not of the same photos and classes, or one is there twice.
    """  # noqa: DOC502 raised by `check_members`
    check_members(runs, tables)
    labels = runs[0].labels
    voices = np.concatenate([table.log_probs for table in tables], axis=1)
    data = _data(runs, tables, voices, labels, budget)
    found = select_method(data, METHODS if ask is None else LINEAR_IN_LOGITS)
    nested = replace(
        tables[0],
        views=("blend",),
        log_probs=spread(found.nested, voices, labels.canonical)[:, None],
        folds=None,
        run="",
    )
    group_of = dict(zip(tables[0].ids, data.groups.tolist(), strict=True))
    result = score(nested, nested.truth(), labels.equal, group_of)
    result = replace(result, notes=(*result.notes, *chain(*(run.caution for run in runs))))
    blend = Blend(
        names=labels.names,
        equal=labels.equal,
        members=_members(runs, data, found),
        pooling=found.fitted.pooling,
        temperature=found.fitted.temperature,
        vector=found.fitted.vector,
        candidates=_candidates(data, found),
        averaging=None if ask is None else _averaging(runs, data, found, labels, ask),
        made=Making(
            tuple(str(run.folder.resolve()) for run in runs),
            budget,
            None if photos is None else str(photos.resolve()),
            now(),
        ),
    )
    Blend.forget(folder)  # an earlier one vouches for none of these
    replace(nested, run=blend.fingerprint).save(folder / OUT_OF_FOLD)
    result.save(folder / SCORE)
    blend.save(folder)  # last, because it vouches for the others
    return blend, result


def check_members(runs: Sequence[Run], tables: Sequence[Predictions]) -> None:
    """Refuse runs that cannot be blended.

    Args:
        runs: The members, each once.
        tables: The out-of-fold table of each, whatever their views.

    Raises:
        RunError: If the runs are not of the same photos, near-duplicates and classes, or one is
            there twice.
    """
    names = [run.fingerprint for run in runs]
    if not runs or len(set(names)) < len(names):
        raise RunError(
            "A blend needs at least one run, and each run once. Got: "
            f"{listed([str(run.folder) for run in runs]) or 'none'}."
        )
    for run, table in zip(runs, tables, strict=True):
        if run.labels != runs[0].labels:
            raise RunError(
                f"{run.folder} and {runs[0].folder} know different classes "
                f"({len(run.labels.names)} and {len(runs[0].labels.names)}), so they cannot be "
                "blended. Train them on the same data."
            )
        if table.ids != tables[0].ids or table.labels != tables[0].labels:
            raise RunError(
                f"The out-of-fold tables of {run.folder} and {runs[0].folder} are of different "
                f"photos or labels ({len(table.ids):,} and {len(tables[0].ids):,} rows), so they "
                "cannot be blended. Train them on the same data, with the same corrections."
            )
    groups = [_groups(run, tables[0].ids) for run in runs]
    for run, found in zip(runs, groups, strict=True):
        if not np.array_equal(found, groups[0]):
            raise RunError(
                f"{run.folder} and {runs[0].folder} take different photos for near-duplicates, so "
                "one may have learned what the other holds out. Train both on the same audit."
            )


def _data(
    runs: Sequence[Run],
    tables: Sequence[Predictions],
    voices: Floats,
    labels: Labels,
    budget: int,
) -> Table:
    return Table(
        voices=merged(voices, labels.canonical),
        truth=_columns(tables[0], labels),
        groups=_groups(runs[0], tables[0].ids),
        members=np.repeat(np.arange(len(tables)), [len(table.views) for table in tables]),
        views=tuple(view for table in tables for view in table.views),
        budget=budget,
    )


def _groups(run: Run, ids: Sequence[str]) -> Places:
    group_of = run.manifest().groups()
    return as_they_appear([group_of[id_] for id_ in ids])


def _columns(table: Predictions, labels: Labels) -> Places:
    # (n,) where the true class of each photo is once equal classes are merged.
    return labels.merged_places[labels.indices(list(table.truth().values()))]


def _members(runs: Sequence[Run], data: Table, found: Selection) -> tuple[Member, ...]:
    # Views without weight are not looked at, and runs without views are no members.
    weights = found.fitted.weights
    members = []
    for place, run in enumerate(runs):
        used = np.flatnonzero((data.members == place) & (weights > 0)).tolist()
        if used:
            views = tuple(data.views[k] for k in used)
            shares = tuple(float(weights[k]) for k in used)
            where = str(run.folder.resolve())
            members.append(Member(where, run.fingerprint, views, shares, answers_of(run)))
    return tuple(members)


def _averaging(
    runs: Sequence[Run], data: Table, found: Selection, labels: Labels, ask: Ask
) -> Averaging | None:
    weights = np.stack([fit.weights for fit in (*found.fits, found.fitted)])
    used = weights.any(axis=0)
    said, places = [], []
    for member, run in enumerate(runs):
        mine = np.flatnonzero(used & (data.members == member))
        if len(mine):
            said.append(merged(ask(run, tuple(data.views[k] for k in mine)), labels.canonical))
            places.append(mine)
    voices = np.concatenate(in_turn(said), axis=2)
    readable = np.isfinite(voices).all(axis=(0, 2, 3))
    if readable.sum() < MIN_PHOTOS:
        raise DataError(
            f"Of the photos given with --photos {readable.sum():,} can be read. Give {MIN_PHOTOS} "
            "or more, best the test photos."
        )
    foretold = foretell_mean(data, found, Asked(voices[:, readable], np.concatenate(places)))
    if foretold is None:
        say(
            "The photos without labels are too unlike the held-out ones to tell what the mean of "
            "the models costs there: it keeps the temperature of one model (chajong expect says "
            "how unlike they are)"
        )
        return None
    return replace(foretold, num_models=max(map(len, said)))


def _candidates(data: Table, found: Selection) -> tuple[Candidate, ...]:
    best = found.losses[int(found.losses.mean(axis=1).argmin())]
    made = []
    for place, (method, lost) in enumerate(zip(found.methods, found.losses, strict=True)):
        gap = lost - best
        made.append(
            Candidate(
                method=method.name,
                about=method.about,
                log_loss=float(lost.mean()),
                gap=float(gap.mean()),
                gap_error=standard_error(gap, data.groups),
                num_looks=found.num_looks[place],
                chosen=place == found.chosen,
            )
        )
    return tuple(made)


def alone(tables: Sequence[Predictions], labels: Labels) -> list[tuple[int, str, float]]:
    """Score every view of every member by itself.

    Args:
        tables: The out-of-fold table of each member.
        labels: Their classes.

    Returns:
        Member, view and log loss.
    """
    rows = []
    for place, table in enumerate(tables):
        columns = _columns(table, labels)
        said = merged(table.log_probs, labels.canonical)
        for v, view in enumerate(table.views):
            rows.append((place, view, float(counted(said[:, v], columns).mean())))
    return rows
