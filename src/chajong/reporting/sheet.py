"""The contact sheet: one picture of what the audit found, to be looked at.

Duplicates come as panels of photos side by side, red where their labels differ; every other kind
of issue as a row of its worst photos.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from PIL import Image, ImageDraw

from chajong.files import replacing
from chajong.manifest import Manifest
from chajong.photos.decode import Unreadable, decode
from chajong.photos.lettering import Lettering
from chajong.photos.reading import read_file
from chajong.reporting.advice import all_advice

_TILE_PX = (208, 144)
_CAPTION_PX, _GAP_PX, _MARGIN_PX = 42, 18, 32
_COLUMNS = 6
_CELL_PX = (_TILE_PX[0] + _GAP_PX, _TILE_PX[1] + _CAPTION_PX + _GAP_PX)
_WIDTH_PX = 2 * _MARGIN_PX + _COLUMNS * _CELL_PX[0] - _GAP_PX
_HEADING_PX, _TITLE_PX = 52, 84
_MOST_GROUPS = 40

_PAPER, _INK, _FAINT, _EMPTY = "#ffffff", "#1c2430", "#6b7684", "#eceff3"
RED, AMBER, CALM = "#d23c3c", "#d9982b", "#c3ccd6"

_SAME = ("exact_duplicate", "near_duplicate")


@dataclass(frozen=True)
class Tile:
    """One photo with two lines under it."""

    path: Path
    title: str
    note: str


@dataclass(frozen=True)
class Panel:
    """Photos that belong side by side, in a frame of a colour where there is one."""

    tiles: tuple[Tile, ...]
    frame: str | None = None


@dataclass(frozen=True)
class Section:
    """A heading, what it says beside it, and panels under it."""

    heading: str
    remark: str
    panels: tuple[Panel, ...]

    def places(self) -> list[tuple[int, int]]:
        # The column and row of each panel; a panel is not broken over two rows.
        placed: list[tuple[int, int]] = []
        column, row = 0, 0
        for panel in self.panels:
            if column + len(panel.tiles) > _COLUMNS:
                column, row = 0, row + 1
            placed.append((column, row))
            column += len(panel.tiles)
        return placed

    def height_px(self) -> int:
        return _HEADING_PX + (self.places()[-1][1] + 1) * _CELL_PX[1] + _GAP_PX


def contact_sheet(manifest: Manifest, out: Path) -> Path:
    """Draw the photos of each kind of issue and of each group of duplicates.

    Args:
        manifest: What the audit found.
        out: The picture to make or replace; a PNG if it is named so, else a JPEG.

    Returns:
        The same path.

    Raises:
        ResourceError: If it cannot be written.
    """  # noqa: DOC502 raised by `replacing`
    num_concerned = manifest.issues["id"].n_unique()
    told = f"{num_concerned:,} of {manifest.table.height:,} photos have something to look at"
    sections = [*_duplicates(manifest), *_issues(manifest)]
    return draw_sheet("What the audit found", told, sections, out)


def draw_sheet(title: str, remark: str, sections: Sequence[Section], out: Path) -> Path:
    """Draw photos with captions, section by section.

    Args:
        title: What the sheet shows.
        remark: What to say beside the title.
        sections: What to draw, from the top.
        out: The picture to make or replace; a PNG if it is named so, else a JPEG.

    Returns:
        The same path.

    Raises:
        ResourceError: If it cannot be written.
    """  # noqa: DOC502 raised by `replacing`
    height = _TITLE_PX + sum(section.height_px() for section in sections) + _MARGIN_PX
    sheet = Image.new("RGB", (_WIDTH_PX, height), _PAPER)
    pen, letters = ImageDraw.Draw(sheet), Lettering()
    letters.write(pen, (_MARGIN_PX, 26), title, 26, _INK)
    letters.write(pen, (_WIDTH_PX - _MARGIN_PX, 34), remark, 15, _FAINT, anchor="ra")
    top = _TITLE_PX
    for section in sections:
        _draw_section(sheet, pen, letters, section, top)
        top += section.height_px()
    with replacing(out) as temporary:
        sheet.save(temporary, "PNG" if out.suffix.lower() == ".png" else "JPEG", quality=88)
    return out


def _duplicates(manifest: Manifest) -> Iterator[Section]:
    # One section, a panel for each group of photos that are the same.
    kinds = manifest.issues.group_by("id").agg(kinds=pl.col("issue"))
    photos = manifest.table.join(kinds, on="id", maintain_order="left")
    same = photos.filter(pl.col("kinds").list.set_intersection(list(_SAME)).list.len() > 0)
    groups = same.partition_by("scene", maintain_order=True)
    if not groups:
        return
    ranked = sorted(groups, key=lambda group: (RED, AMBER, CALM).index(_frame(group)))
    panels = [Panel(_tiles(manifest, group), _frame(group)) for group in ranked[:_MOST_GROUPS]]
    remark = f"{same.height:,} photos in {len(groups):,} groups"
    remark += f"{_not_shown(len(groups), len(panels))}; red: labels differ, amber: train and test"
    yield Section("Duplicates", remark, tuple(panels))


def _frame(group: pl.DataFrame) -> str:
    found = set(group["kinds"].explode().to_list())
    if "duplicate_other_label" in found:
        return RED
    return AMBER if "duplicate_train_test" in found else CALM


def _tiles(manifest: Manifest, group: pl.DataFrame) -> tuple[Tile, ...]:
    return tuple(
        Tile(manifest.path_of(path), label or "test photo", _name(id_))
        for id_, path, label in group.head(_COLUMNS).select("id", "path", "label").iter_rows()
    )


def _issues(manifest: Manifest) -> Iterator[Section]:
    # A section for each other kind of issue, with its worst photos.
    for advice in all_advice(manifest.issues["issue"].unique().to_list()):
        if advice.side_by_side:
            continue
        found = manifest.issues.filter(pl.col("issue") == advice.issue)
        worst = found.sort("score", "id", descending=[advice.high_is_worse, False])
        photos = worst.head(_COLUMNS).join(manifest.table, on="id", maintain_order="left")
        tiles = [
            Panel((Tile(manifest.path_of(path), detail, _name(id_)),))
            for id_, path, detail in photos.select("id", "path", "detail").iter_rows()
        ]
        remark = f"{_photos(found.height)}{_not_shown(found.height, len(tiles))}"
        yield Section(advice.heading, remark, tuple(tiles))


def _photos(num: int) -> str:
    return "1 photo" if num == 1 else f"{num:,} photos"


def _not_shown(num: int, num_shown: int) -> str:
    return f", {num_shown} shown" if num > num_shown else ""


def _name(id_: str) -> str:
    return id_.rsplit("/", 1)[-1]


def _draw_section(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, letters: Lettering, section: Section, top: int
) -> None:
    letters.write(pen, (_MARGIN_PX, top + 12), section.heading, 19, _INK)
    letters.write(pen, (_WIDTH_PX - _MARGIN_PX, top + 16), section.remark, 14, _FAINT, anchor="ra")
    for panel, (column, row) in zip(section.panels, section.places(), strict=True):
        left = _MARGIN_PX + column * _CELL_PX[0]
        upper = top + _HEADING_PX + row * _CELL_PX[1]
        if panel.frame is not None:
            right = left + len(panel.tiles) * _CELL_PX[0] - _GAP_PX
            box = (left - 6, upper - 6, right + 5, upper + _TILE_PX[1] + _CAPTION_PX + 1)
            pen.rounded_rectangle(box, radius=8, outline=panel.frame, width=2)
        for number, tile in enumerate(panel.tiles):
            _draw_tile(sheet, pen, letters, tile, (left + number * _CELL_PX[0], upper))


def _draw_tile(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    letters: Lettering,
    tile: Tile,
    corner: tuple[int, int],
) -> None:
    left, top = corner
    width, height = _TILE_PX
    pen.rectangle((left, top, left + width - 1, top + height - 1), fill=_EMPTY)
    try:
        pixels = decode(read_file(tile.path), at_least_px=height).pixels
    except Unreadable:
        letters.write(pen, (left + width // 2, top + height // 2), "×", 40, CALM, anchor="mm")
    else:
        photo = Image.fromarray(pixels)
        photo.thumbnail(_TILE_PX)
        sheet.paste(photo, (left + (width - photo.width) // 2, top + (height - photo.height) // 2))
    for line, (text, size, ink) in enumerate(((tile.title, 14, _INK), (tile.note, 12, _FAINT))):
        place = (left + 1, top + height + 3 + 18 * line)
        letters.write(pen, place, letters.fitting(text, size, width - 2), size, ink)
