"""The audit as a page: the photos of each kind of issue, and what to do about them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import polars as pl

from chajong.look_alikes import look_alike_names
from chajong.manifest import Manifest
from chajong.photos.audit import Audit
from chajong.photos.measures import Measures
from chajong.photos.shift import Shift, as_set
from chajong.recipes import named_recipe
from chajong.reporting.advice import ADVICE, Advice, all_advice
from chajong.reporting.page import Tile, counted, render_page, thumbnails
from chajong.reporting.plots import Figure, figures
from chajong.reporting.sheet import contact_sheet
from chajong.run import refuse_run
from chajong.wording import installing

MOST_PHOTOS, MOST_GROUPS, MOST_IN_GROUP = 24, 16, 6
"""Photos of an issue, groups of an issue, and photos of a group, that are shown."""

MOST_ROWS = 5000
"""Rows of the table of all issues."""

_MOST_PAIRS, _NUM_SAMPLES = 24, 3
_RECIPE = "cars-fast"


@dataclass(frozen=True)
class Group:
    """Photos that belong side by side.

    Attributes:
        tiles: The photos.
        title: What they have in common; may be empty.
        marks: What is wrong among them.
        num_more: Photos that are not shown.
    """

    tiles: tuple[Tile, ...]
    title: str = ""
    marks: tuple[str, ...] = ()
    num_more: int = 0


@dataclass(frozen=True)
class Section:
    """One kind of issue.

    Attributes:
        advice: What to say of it.
        num_photos: How many photos have it.
        tiles: The worst photos, the worst first.
        groups: Or groups of them.
        more: How many are not shown, in words; empty if all are.
    """

    advice: Advice
    num_photos: int
    tiles: tuple[Tile, ...] = ()
    groups: tuple[Group, ...] = ()
    more: str = ""


class ClassRow(NamedTuple):
    """How many train photos a class has."""

    name: str
    num_photos: int
    num_groups: int
    is_small: bool


class NamePair(NamedTuple):
    """Two class names that may mean the same car, with photos of both."""

    reason: str
    is_known: bool
    sides: tuple[Group, Group]


def audit_page(
    manifest: Manifest,
    path: Path,
    shift: Shift | None = None,
    measures: Measures | None = None,
    *,
    looked: bool = False,
    corrected: str | None = None,
) -> Path:
    """Write what an audit found as one HTML file.

    Args:
        manifest: The photos, and what is wrong with them.
        path: The file to make or replace.
        shift: How test photos differ; none if there are too few.
        measures: Figures of each photo, to draw how they are distributed.
        looked: Whether a network has looked at the photos.
        corrected: The corrections that were carried out first, in words.

    Returns:
        The same path.

    Raises:
        ResourceError: If it cannot be written.
    """  # noqa: DOC502 raised by `render_page`
    album = _Album(manifest)
    sections = tuple(album.sections())
    pairs, num_pairs = album.name_pairs()
    telltale = album.telltale(shift)
    shown = [*(tile for section in sections for tile in _tiles_of(section)), *_all(telltale)]
    shown += _all(side for pair in pairs for side in pair.sides)
    small = manifest.issues.filter(pl.col("issue") == "small_class")["id"]
    return render_page(
        "audit.html",
        path,
        manifest=manifest,
        num=_numbers(manifest),
        sections=sections,
        calm=[advice.heading for advice in ADVICE if _is_calm(advice, sections, looked)],
        looked=looked,
        corrected=corrected,
        classes=_class_rows(manifest, set(album.labels_of(small))),
        pairs=pairs,
        num_more_pairs=num_pairs - len(pairs),
        shift=shift,
        figures=_figures(manifest, shift, measures),
        telltale=telltale,
        change=_change(shift),
        recipe=_RECIPE,
        rows=album.rows(),
        thumbs=thumbnails(tile.path for tile in shown),
    )


def save_audit(found: Audit, folder: Path) -> list[str]:
    """Write an audit as tables, as a picture and as a page.

    Args:
        found: What it found.
        folder: Where to; made where it is missing.

    Returns:
        What was written, a line each.

    Raises:
        ResourceError: If it cannot be written.
        RunError: If a run lies there.
    """  # noqa: DOC502 raised by `save` and `refuse_run`
    refuse_run(folder, "an audit")
    found.save(folder)
    said = [
        f"tables: {folder / 'manifest.parquet'}, {folder / 'issues.parquet'}",
        f"picture: {contact_sheet(found.manifest, folder / 'issues.jpg')}",
    ]
    if find_spec("jinja2") is None:
        return [*said, f"no page, for jinja2 is not installed. Run: {installing('train')}"]
    facts = found.manifest, folder / "audit.html", found.shift, found.measures
    page = audit_page(*facts, looked=found.looked, corrected=found.corrected)
    return [*said, f"page, to be opened in a browser: {page}"]


class _Album:
    # The photos of a manifest by id, and its issues, the most important first.

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        columns = manifest.table.select("id", "path", "label", "part")
        self.photos = {id_: row for id_, *row in columns.iter_rows()}
        self.kinds = all_advice(manifest.issues["issue"].unique().to_list())
        self.issues = {advice.issue: self._worst_first(advice) for advice in self.kinds}

    def _worst_first(self, advice: Advice) -> pl.DataFrame:
        found = self.manifest.issues.filter(pl.col("issue") == advice.issue)
        return found.sort("score", "id", descending=[advice.high_is_worse, False], nulls_last=True)

    def tile(self, id_: str, note: str = "", score: float | None = None) -> Tile:
        path, label, part = self.photos[id_]
        said = "" if score is None else f"{score:.3g}"
        return Tile(id_, self.manifest.path_of(path), label or "", part, note, said)

    def labels_of(self, ids: Iterable[str]) -> Iterator[str]:
        return (self.photos[id_][1] for id_ in ids)

    def sections(self) -> Iterator[Section]:
        for advice in self.kinds:
            found = self.issues[advice.issue]
            if advice.side_by_side or advice.issue == "small_class":
                yield self._grouped(advice, found)
                continue
            worst = found.head(MOST_PHOTOS).select("id", "detail", "score").iter_rows()
            tiles = tuple(self.tile(*row) for row in worst)
            more = found.height - len(tiles)
            yield Section(advice, found.height, tiles, more=_more(more, "photo"))

    def _grouped(self, advice: Advice, found: pl.DataFrame) -> Section:
        by = "scene" if advice.side_by_side else "label"
        columns = self.manifest.table.select("id", "scene", "label")
        parts = found.join(columns, on="id", maintain_order="left").partition_by(
            by, maintain_order=True
        )
        groups = [(part, self._marks(part["id"])) for part in parts]
        groups.sort(key=lambda group: -len(group[1]))  # stable: within that, the worst first
        shown = tuple(self._group(part, marks, by) for part, marks in groups[:MOST_GROUPS])
        more = len(groups) - len(shown)
        said = _more(more, "group" if advice.side_by_side else "class")
        return Section(advice, found.height, groups=shown, more=said)

    def _marks(self, ids: pl.Series) -> tuple[str, ...]:
        photos = [self.photos[id_] for id_ in ids]
        labels = self.manifest.labels
        given = [label for _, label, _ in photos if label is not None]
        is_mixed = len(set(labels.canonical[labels.indices(given)])) > 1
        parts = {part for *_, part in photos}
        return ("labels differ",) * is_mixed + ("train and test",) * ({"train", "test"} <= parts)

    def _group(self, part: pl.DataFrame, marks: tuple[str, ...], by: str) -> Group:
        rows = part.head(MOST_IN_GROUP).select("id", "detail", "score").iter_rows()
        is_class = by == "label"
        # What is said of a class is the same for each of its photos.
        tiles = tuple(self.tile(id_) if is_class else self.tile(id_, *said) for id_, *said in rows)
        num = int(part["score"][0] or 0)
        title = f"{part['label'][0]}: {counted(num, 'different photo')}" if is_class else ""
        return Group(tiles, title, marks, part.height - len(tiles))

    def name_pairs(self) -> tuple[list[NamePair], int]:
        labels = self.manifest.labels
        place = {name: number for number, name in enumerate(labels.names)}
        found = look_alike_names(labels.names)
        chosen = found[:_MOST_PAIRS]
        names = {name for pair in chosen for name in (pair.name, pair.other)}
        sides = {name: self._samples(name) for name in names}
        canonical = labels.canonical
        pairs = [
            NamePair(
                pair.reason,
                bool(canonical[place[pair.name]] == canonical[place[pair.other]]),
                (sides[pair.name], sides[pair.other]),
            )
            for pair in chosen
        ]
        return pairs, len(found)

    def _samples(self, name: str) -> Group:
        is_shown = (pl.col("part") == "train") & pl.col("readable") & (pl.col("label") == name)
        ids = self.manifest.table.filter(is_shown).sort("id")["id"].to_list()
        step = max(1, len(ids) // _NUM_SAMPLES)
        chosen = ids[::step][:_NUM_SAMPLES]
        return Group(tuple(map(self.tile, chosen)), name, num_more=len(ids) - len(chosen))

    def telltale(self, shift: Shift | None) -> tuple[Group, ...]:
        if shift is None or shift.telltale is None:
            return ()
        told = shift.telltale
        sides = (
            ("Test photos that look the most like test photos", told.test_like),
            ("Train photos that look the least like test photos", told.train_like),
        )
        return tuple(
            Group(tuple(self.tile(id_) for id_ in ids if id_ in self.photos), title)
            for title, ids in sides
        )

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        tables = [table for table in self.issues.values() if table.height]
        if not tables:
            return []
        chosen = pl.concat(tables).head(MOST_ROWS)
        return [
            (id_, issue, self.photos[id_][1] or "", "" if score is None else f"{score:.3g}", detail)
            for id_, issue, score, detail in chosen.iter_rows()
        ]


def _more(num: int, unit: str) -> str:
    return counted(num, f"more {unit}") if num else ""


def _tiles_of(section: Section) -> Iterator[Tile]:
    yield from section.tiles
    yield from _all(section.groups)


def _all(groups: Iterable[Group]) -> Iterator[Tile]:
    return (tile for group in groups for tile in group.tiles)


def _numbers(manifest: Manifest) -> dict[str, int]:
    parts = manifest.table["part"]
    return {
        "train": int((parts == "train").sum()),
        "test": int((parts == "test").sum()),
        "classes": len(manifest.labels.names),
        "groups": manifest.trainable()["group"].n_unique(),
        "concerned": manifest.issues["id"].n_unique(),
        "issues": manifest.issues.height,
    }


def _is_calm(advice: Advice, sections: Iterable[Section], looked: bool) -> bool:
    was_looked_for = looked or advice.issue not in ("not_whole_car", "not_like_class")
    return was_looked_for and all(section.advice != advice for section in sections)


def _class_rows(manifest: Manifest, small: set[str]) -> list[ClassRow]:
    train = manifest.table.filter(pl.col("part") == "train").group_by("label")
    counts = train.agg(
        num_photos=pl.len(), num_groups=pl.col("group").filter(pl.col("readable")).n_unique()
    )
    names = pl.DataFrame({"label": manifest.labels.names})  # also those without photos
    ranked = names.join(counts, on="label", how="left").fill_null(0)
    ranked = ranked.sort("num_photos", "label", descending=[True, False])
    return [
        ClassRow(name, num_photos, num_groups, name in small)
        for name, num_photos, num_groups in ranked.iter_rows()
    ]


def _figures(
    manifest: Manifest, shift: Shift | None, measures: Measures | None
) -> tuple[Figure, ...]:
    if shift is None:
        return ()
    parts = manifest.table["part"]
    if measures is None:
        return figures(shift)
    return figures(shift, *(measures.table.filter(parts == part) for part in ("train", "test")))


def _change(shift: Shift | None) -> str:
    light = None if shift is None else shift.proposal()
    return "" if light is None else as_set(light, named_recipe(_RECIPE))
