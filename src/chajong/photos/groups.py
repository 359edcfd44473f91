"""Which photos of a data set are the same, and what follows: groups and issues.

Two photos have the same content if their bytes or all their pixels are equal, whatever they
show. Near-duplicates are looked for among different contents. A group holds what is linked by
either, or by the user.

Shapes: n photos, p pairs.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chajong.environment import num_cores
from chajong.labels import Labels
from chajong.photos.decode import Unreadable, decode
from chajong.photos.duplicates import Pairs, components, near_duplicates

Issue = tuple[str, str, float | None, str]
"""The id of a photo, what is wrong, how much or how sure, and in words."""

# Agreement of thumbnails from which all pixels are worth comparing; a PNG of a JPEG has less than
# a second JPEG, because JPEGs are decoded at a smaller scale for their thumbnails.
_SAME_PIXELS_FROM = 0.9

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Alike:
    """Which photos of a manifest's table are the same.

    Attributes:
        content: (n,) for each photo the first photo with the same bytes or pixels; often itself.
        scene: (n,) for each photo the first photo that it is linked to by content or likeness.
        near: Near-duplicates, as pairs of contents.
    """

    content: Places
    scene: Places
    near: Pairs


def find_alike(table: pl.DataFrame, root: Path, thumbs: NDArray[np.uint8]) -> Alike:
    """Find the photos that are the same.

    Args:
        table: n rows as in a manifest; those that are not readable are like no other.
        root: The folder that paths count from.
        thumbs: (n, 48, 48) grey thumbnails.

    Returns:
        Which are the same.
    """
    first: dict[str, int] = {}
    readable = table["readable"].to_list()
    content = np.arange(table.height)
    for place, sha256 in enumerate(table["sha256"].to_list()):
        if readable[place]:
            content[place] = first.setdefault(sha256, place)
    contents = np.array(list(first.values()), dtype=np.intp)
    found = near_duplicates(thumbs[contents])
    one, other = contents[found.first], contents[found.second]
    equal = _same_pixels(table, root, one, other, found.score)
    content = components(
        table.height,
        np.concatenate([np.arange(table.height), one[equal]]),
        np.concatenate([content, other[equal]]),
    )
    apart = content[one] != content[other]
    near = Pairs(
        content[one[apart]], content[other[apart]], found.score[apart], found.mirrored[apart]
    )
    scene = components(
        table.height,
        np.concatenate([np.arange(table.height), near.first]),
        np.concatenate([content, near.second]),
    )
    return Alike(content, scene, near)


def group_numbers(table: pl.DataFrame, alike: Alike) -> list[int]:
    """Number the groups of photos that must share a fold.

    Args:
        table: n rows as in a manifest.
        alike: Which are the same.

    Returns:
        n group numbers from 0, in the order in which groups appear in the table.
    """
    links = [(place, int(scene)) for place, scene in enumerate(alike.scene)]
    by_user: dict[str, int] = {}
    for place, (name, readable) in enumerate(table.select("user_group", "readable").iter_rows()):
        if name is not None and readable:
            links.append((place, by_user.setdefault(name, place)))
    ends = np.array(links, dtype=np.intp).reshape(-1, 2)
    numbers: dict[int, int] = {}
    joined = components(table.height, ends[:, 0], ends[:, 1])
    return [numbers.setdefault(int(place), len(numbers)) for place in joined]


def duplicate_issues(table: pl.DataFrame, alike: Alike, labels: Labels) -> list[Issue]:
    """List duplicates, those with different labels, and those on both sides of the test.

    Args:
        table: n rows of a manifest, with groups.
        alike: Which are the same.
        labels: The classes; equal ones are no contradiction.

    Returns:
        The issues, a row for each photo concerned.
    """
    return [
        *_exact(table, alike),
        *_near(table, alike),
        *_other_label(table, alike, labels),
        *_train_test(table, alike),
    ]


def small_class_issues(table: pl.DataFrame, num_needed: int) -> list[Issue]:
    """List the photos of classes with too few different photos.

    Args:
        table: n rows of a manifest; a group counts once, as folds take it whole.
        num_needed: How many different readable photos a class should have.

    Returns:
        The issues, a row for each train photo of such a class.
    """
    train = table.filter(pl.col("part") == "train")
    different = pl.col("group").filter(pl.col("readable")).n_unique().over("label")
    few = train.with_columns(num=different).filter(pl.col("num") < num_needed)
    return [
        (id_, "small_class", float(num), f"different photos of {label} that can be read: {num}")
        for id_, label, num in few.select("id", "label", "num").iter_rows()
    ]


def _same_pixels(
    table: pl.DataFrame, root: Path, one: Places, other: Places, score: NDArray[np.floating]
) -> NDArray[np.bool_]:
    # (p,) whether all pixels of a pair are equal; only the likeliest are decoded again, in full.
    sizes = table.select("width_px", "height_px").to_numpy()
    likely = (score >= _SAME_PIXELS_FROM) & (sizes[one] == sizes[other]).all(axis=1)
    places = np.unique(np.concatenate([one[likely], other[likely]])).tolist()
    paths = [root / table["path"][place] for place in places]
    with ThreadPoolExecutor(num_cores()) as threads:
        hashes = dict(zip(places, threads.map(_pixel_hash, paths), strict=True))
    same = np.zeros(len(one), np.bool_)
    for pair in np.flatnonzero(likely):
        mine = hashes[int(one[pair])]
        same[pair] = mine is not None and mine == hashes[int(other[pair])]
    return same


def _pixel_hash(path: Path) -> bytes | None:
    try:
        return hashlib.sha256(np.ascontiguousarray(decode(path.read_bytes()).pixels).data).digest()
    except (OSError, Unreadable):  # changed or gone since the scan
        return None


def _members(part_of: Places) -> Iterator[list[int]]:
    # The places of each part that has more than one.
    order = np.argsort(part_of, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(part_of[order])) + 1):
        if len(places) > 1:
            yield places.tolist()


def _exact(table: pl.DataFrame, alike: Alike) -> Iterator[Issue]:
    ids, hashes = table["id"], table["sha256"]
    for places in _members(alike.content):
        for place in places:
            other = places[1] if place == places[0] else places[0]
            same = "bytes" if hashes[place] == hashes[other] else "pixels"
            detail = f"the same {same} as {ids[other]}{_more(len(places) - 2)}"
            yield ids[place], "exact_duplicate", 1.0, detail


def _near(table: pl.DataFrame, alike: Alike) -> Iterator[Issue]:
    near = alike.near
    best: dict[int, tuple[float, int, bool]] = {}
    for one, other, score, mirrored in zip(
        near.first.tolist(),
        near.second.tolist(),
        near.score.tolist(),
        near.mirrored.tolist(),
        strict=True,
    ):
        best[one] = max(best.get(one, (0.0, 0, False)), (score, other, mirrored))
        best[other] = max(best.get(other, (0.0, 0, False)), (score, one, mirrored))
    ids, groups = table["id"], table["group"]
    for place, content in enumerate(alike.content.tolist()):
        if content in best:
            score, other, mirrored = best[content]
            detail = f"group {groups[place]}: looks like {ids[other]}{', mirrored' * mirrored}"
            yield ids[place], "near_duplicate", score, detail


def _other_label(table: pl.DataFrame, alike: Alike, labels: Labels) -> Iterator[Issue]:
    given = table["label"].to_list()
    first = labels.canonical.tolist()
    class_of = dict(zip(labels.names, first, strict=True))
    ids = table["id"]
    for place, other, score in _conflicts(alike, lambda place: class_of.get(given[place])):
        detail = f"labelled {given[place]}, but {ids[other]} is labelled {given[other]}"
        yield ids[place], "duplicate_other_label", score, detail


def _train_test(table: pl.DataFrame, alike: Alike) -> Iterator[Issue]:
    ids, parts = table["id"], table["part"].to_list()
    for place, other, score in _conflicts(alike, lambda place: parts[place]):
        detail = f"a {parts[place]} photo, and {ids[other]} is a {parts[other]} photo"
        yield ids[place], "duplicate_train_test", score, detail


def _conflicts(
    alike: Alike, kind: Callable[[int], Hashable | None]
) -> Iterator[tuple[int, int, float | None]]:
    # Photos of one scene that are of different kinds: each with the likest of another kind.
    like = _neighbours(alike.near)
    for places in _members(alike.scene):
        known = [place for place in places if kind(place) is not None]
        firsts = {kind(place): place for place in reversed(known)}
        if len(firsts) < 2:
            continue
        # One photo stands for all of its content and kind, so that many copies take little time.
        stand_ins: dict[int, dict[Hashable | None, int]] = {}
        for place in reversed(known):
            stand_ins.setdefault(int(alike.content[place]), {})[kind(place)] = place
        for place in known:
            content, mine = int(alike.content[place]), kind(place)
            # With its neighbours alone, as a scene may be of thousands.
            linked = [
                (score, -theirs)
                for its, score in ((content, 1.0), *like.get(content, ()))
                for sort, theirs in stand_ins.get(its, {}).items()
                if sort != mine
            ]
            if linked:
                likest, other = max(linked)
                yield place, -other, likest
            else:
                yield place, min(at for sort, at in firsts.items() if sort != mine), None


def _neighbours(near: Pairs) -> dict[int, list[tuple[int, float]]]:
    # The contents that each content is like, and how much.
    found: dict[int, list[tuple[int, float]]] = {}
    for one, other, score in zip(
        near.first.tolist(), near.second.tolist(), near.score.tolist(), strict=True
    ):
        found.setdefault(one, []).append((other, score))
        found.setdefault(other, []).append((one, score))
    return found


def _more(num: int) -> str:
    return f" and {num:,} more" if num else ""
