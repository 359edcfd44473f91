"""The split: which fold each train photo is answered in, with duplicates kept together.

Shapes: g groups, c classes, k folds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from chajong.errors import DataError
from chajong.files import write_table
from chajong.manifest import Manifest
from chajong.parquet import read_parquet, read_texts
from chajong.wording import listed

_COLUMNS = pl.Schema({"id": pl.String, "fold": pl.Int64, "group": pl.Int64})
_NUM_DEALS = 20
_WAYS_OUT = (
    "Ways out: more photos of them, fewer folds, or --fold all, which trains one model on every"
    " photo and needs no folds."
)


@dataclass(frozen=True)
class Split:
    """The fold of every photo that can be learnt from.

    Attributes:
        table: A row a photo, sorted by id: `id`, `fold` (0 to k-1), `group`.
        num_folds: How many folds there are, k, 2 or more.
        seed: What ties were broken by.
        manifest_fingerprint: The manifest that was split.
    """

    table: pl.DataFrame
    num_folds: int
    seed: int
    manifest_fingerprint: str

    def __post_init__(self) -> None:
        """Refuse folds that would make a score untrue.

        Raises:
            DataError: If a group is in two folds, a photo in two rows, or a fold is empty or
                not among 0 to k-1.
        """
        if self.table.schema != _COLUMNS:
            raise DataError(f"A split needs the columns {_COLUMNS}, but has {self.table.schema}.")
        ids = self.table["id"]
        if repeated := ids.filter(ids.is_duplicated()).unique().sort().to_list():
            raise DataError(f"A photo has one fold, but {listed(repeated)} have several rows.")
        if self.num_folds < 2:
            raise DataError(f"A split needs 2 folds or more. Got {self.num_folds}.")
        folds = self.table["fold"].unique().sort().to_list()
        if folds != list(range(self.num_folds)):
            raise DataError(
                f"Each of the folds 0 to {self.num_folds - 1} needs photos, and there must be no"
                f" others. Got photos in {folds}. Ask for fewer folds, or --fold all."
            )
        crossing = self.table.filter(pl.col("fold").n_unique().over("group") > 1)
        if crossing.height:
            together = crossing.filter(pl.col("group") == crossing["group"].min())["id"]
            raise DataError(
                f"{crossing['group'].n_unique()} group(s) of photos that belong together are in"
                f" two folds or more, such as {listed(together)}. They would be learnt from and"
                " then asked about. Give all photos of a group one fold."
            )

    def save(self, path: Path) -> None:
        """Write the split as Parquet.

        Args:
            path: The file to make or replace.
        """
        facts = {
            "num_folds": str(self.num_folds),
            "seed": str(self.seed),
            "manifest": self.manifest_fingerprint,
        }
        write_table(path, self.table, metadata=facts)

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read a split that `save` wrote.

        Args:
            path: The file.

        Returns:
            The split.

        Raises:
            DataError: If the file is missing, damaged or not a split.
        """
        try:
            facts = read_texts(path)
            num_folds, seed = int(facts["num_folds"]), int(facts["seed"])
            return cls(read_parquet(path), num_folds, seed, facts["manifest"])
        except (OSError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"{path} cannot be read as a split ({error!r}): it must be a file that chajong"
                " wrote. Delete it, then run the same command again."
            ) from error


def split(manifest: Manifest, num_folds: int, seed: int) -> Split:
    """Deal the photos out to folds: groups stay whole, classes spread evenly.

    Groups are dealt largest first, each to the fold that holds the least of its classes so far.
    The folds are the user's own where the manifest has them.

    Args:
        manifest: The photos; only readable train photos get a fold.
        num_folds: How many folds, 2 or more.
        seed: Breaks ties; the order of the manifest's rows does not matter.

    Returns:
        A split in which every class can be learnt for every fold.

    Raises:
        DataError: If that cannot be: too few classes, photos or groups, a class without a photo
            that can be read, or the user's folds are incomplete or not `num_folds`.
    """
    if num_folds < 2:
        raise DataError(
            f"The number of folds must be 2 or more. Got {num_folds}. To train on every photo"
            " without folds, say --fold all."
        )
    manifest.check_classes()
    rows = manifest.trainable()
    classes = manifest.labels.indices(rows["label"].to_list())
    folds = _user_folds(rows, num_folds) or _dealt(
        rows["group"].to_numpy(), classes, num_folds, seed
    )
    table = rows.select("id", pl.Series("fold", folds, dtype=pl.Int64), "group")
    result = Split(table, num_folds, seed, manifest.fingerprint)
    _check_learnable(table.with_columns(label=rows["label"]))
    return result


def _user_folds(rows: pl.DataFrame, num_folds: int) -> list[int] | None:
    # The folds that the user's table gives, None where it gives none.
    folds = rows["fold"]
    if folds.null_count() == rows.height:
        return None
    if folds.null_count():
        without = rows.filter(pl.col("fold").is_null())["id"]
        raise DataError(
            f"{len(without):,} of {rows.height:,} photos have no fold, such as {listed(without)}."
            " Give every photo a fold, or none."
        )
    given = folds.unique().sort().to_list()
    if given != list(range(num_folds)):
        raise DataError(
            f"The table of photos has the folds {given}, but {num_folds} folds were asked for:"
            f" 0 to {num_folds - 1}. Number them from 0 without gaps, and ask for as many:"
            f" --set folds.num_folds={len(given)}."
        )
    return folds.to_list()


def _dealt(
    groups: NDArray[np.int64], classes: NDArray[np.int64], num_folds: int, seed: int
) -> list[int]:
    # Groups that hold several classes tie these together, and chance can leave a class in one
    # fold that need not be there. Then they are dealt anew.
    rng = np.random.default_rng(seed)
    of_class = np.unique(np.stack([classes, groups]), axis=1)[0]
    can_be = np.bincount(of_class).min() > 1
    for _ in range(_NUM_DEALS if can_be else 1):
        folds = _deal(groups, classes, num_folds, rng)
        held = np.zeros((classes.max() + 1, num_folds), dtype=bool)
        held[classes, folds] = True
        if held.any(axis=0).all() and (held.sum(axis=1) > 1).all():
            break
    return folds


def as_they_appear(groups: ArrayLike) -> NDArray[np.intp]:
    """Number groups by their first rows, whatever they are called.

    Args:
        groups: (n,) equal where rows belong together.

    Returns:
        (n,) numbers from 0.
    """
    _, first, of = np.unique(groups, return_index=True, return_inverse=True)
    made: NDArray[np.intp] = np.argsort(np.argsort(first))[of]
    return made


def _deal(
    groups: NDArray[np.int64],
    classes: NDArray[np.int64],
    num_folds: int,
    rng: np.random.Generator,
) -> list[int]:
    # Rows come sorted by id, so that the result depends on neither the order nor the numbers that
    # the manifest has.
    group_of_row = as_they_appear(groups)
    counts = np.bincount(classes)
    members: list[dict[int, int]] = [{} for _ in range(group_of_row.max() + 1)]
    for group, label in zip(group_of_row.tolist(), classes.tolist(), strict=True):
        members[group][label] = members[group].get(label, 0) + 1
    shuffled = rng.permutation(len(members))
    sizes = np.bincount(group_of_row)
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]

    held = np.zeros((len(counts), num_folds))  # (c, k) photos of each class dealt so far
    total = np.zeros(num_folds)
    fold_of_group = np.empty(len(members), dtype=np.int64)
    for group in order.tolist():
        # A share of its class, so that rare classes in a mixed group count like common ones.
        load = sum(num * held[label] / counts[label] for label, num in members[group].items())
        fold = np.lexsort((total, np.round(load, 9)))[0]
        fold_of_group[group] = fold
        total[fold] += sizes[group]
        for label, num in members[group].items():
            held[label, fold] += num
    return [int(fold) for fold in fold_of_group[group_of_row]]


def _check_learnable(table: pl.DataFrame) -> None:
    # A class whose photos are all in one fold would be asked about without having been seen.
    spread = table.group_by("label").agg(pl.len(), pl.col("fold", "group").n_unique()).sort("label")
    unseen = spread.filter(pl.col("fold") < 2)
    if unseen.height:
        raise DataError(
            f"{unseen.height} class(es) would be missing from a training side, because all their"
            f" photos are in one fold: {_with_counts(unseen.iter_rows(named=True))}. {_WAYS_OUT}"
        )


def _with_counts(classes: Iterable[dict[str, object]]) -> str:
    every = [f"{row['label']} ({_photos(row['len'], row['group'])})" for row in classes]
    more = f" and {len(every) - 5:,} more" if len(every) > 5 else ""
    return ", ".join(every[:5]) + more


def _photos(num_photos: object, num_groups: object) -> str:
    said = f"{num_photos} photo" if num_photos == 1 else f"{num_photos} photos"
    return said if num_photos == num_groups else f"{said} in {num_groups} group(s)"
