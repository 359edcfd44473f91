"""The audit: what photos there are, what is wrong with them, and which belong together.

Nothing is changed or deleted; what is wrong is listed, for people to decide on.

Shapes: n photos, d features of a network.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chajong.choices import Layout
from chajong.corrections import Corrections
from chajong.files import fingerprint
from chajong.labels import Labels
from chajong.manifest import ISSUE_COLUMNS, PHOTO_COLUMNS, Manifest
from chajong.photos.cache import default_cache_folder
from chajong.photos.duplicates import perceptual_hashes
from chajong.photos.groups import (
    duplicate_issues,
    find_alike,
    group_numbers,
    small_class_issues,
)
from chajong.photos.layout import PhotoRef, find_photos
from chajong.photos.measures import MEASURE_COLUMNS, Measures
from chajong.photos.outliers import find_outliers
from chajong.photos.scan import SCAN_VERSION, Scan, scan
from chajong.photos.shift import Shift, as_set, find_shift
from chajong.photos.walk import below
from chajong.progress import say
from chajong.recipes import named_recipe
from chajong.wording import listed

# Measured on 6,114 car photos and 400 altered copies of them of each kind; see also
# benchmarks/duplicates_planted.py.
TINY_BELOW_PX = 64
"""Short side below which badges and lamps are gone: about a quarter of what models look at."""

HUGE_FROM_MEGAPIXELS = 50.0
"""From here on a photo takes half a second and 150 MB each time it is opened."""

ODD_ASPECT_FROM = 4.0
"""Long side by short side; a car seen from its side and cut out tightly stays below."""

DARK_BELOW = 0.05
"""Share of pixels of grey level 80 and more; a photo at 0.3 of its light falls below."""

OVER_EXPOSED_FROM = 0.5
"""Share of white pixels; studio photos of cars in front of white stay below."""

BLURRED_BELOW = 0.4
"""Power of the finest octave of 96 x 96 pixels by that of the next. Sharp photos have 0.5 to 1;
blurred by 1 % of their short side they have 0.25, by 2 % 0.14."""

GREY_BELOW = 0.001
"""Share of pixels with some colour; a black car in front of white has 0.002, by its lamps."""

LOW_INFORMATION_BELOW = 8.0
"""Standard deviation of grey levels: next to nothing is seen. Photos of cars have 16 or more."""

SMALL_CLASS_BELOW = 5
"""Different photos that a class needs for each of the usual five folds to have one."""

_SUFFIXES = {
    "jpeg": [".jpg", ".jpeg", ".jfif"],
    "png": [".png"],
    "webp": [".webp"],
    "bmp": [".bmp"],
    "gif": [".gif"],
    "tiff": [".tif", ".tiff"],
}


Look = Callable[[Manifest], NDArray[np.float32]]
"""Gives the (n, d) features of a manifest's photos, NaN where one cannot be read."""


@dataclass(frozen=True)
class Audit:
    """All that an audit found.

    Attributes:
        manifest: The photos, and what is wrong with them.
        measures: Figures of each photo.
        shift: How test photos differ from train photos; none if there are too few of either.
        looked: Whether a network has looked at the photos.
        corrected: The corrections that were carried out first, in words; none if there are none.
    """

    manifest: Manifest
    measures: Measures
    shift: Shift | None
    looked: bool
    corrected: str | None = None

    def lines(self) -> Iterator[str]:
        """Tell in some lines what was found, and what helps.

        Yields:
            Counts and issues, the shift, what to train with, and what was not looked at.
        """
        if self.corrected is not None:
            yield f"corrections carried out first: {self.corrected}"
        yield from summary(self.manifest)
        if self.shift is None:
            yield "no shift: too few test or train photos to compare (duplicates count once)"
        else:
            yield from self.shift.lines()
            light = self.shift.proposal()
            if light is not None:
                low, high = light.factor
                yield f"to cover it, train with light x {low:g} to {high:g}, for example:"
                yield f"  --recipe cars-fast --set '{as_set(light, named_recipe('cars-fast'))}'"
        if not self.looked:
            yield (
                "not looked for: photos that are no whole car, or not like their class; give"
                " --weights FILE or --weights pretrained"
            )

    def save(self, folder: Path) -> None:
        """Write the manifest, the measures and the shift, each in files of its own.

        Args:
            folder: Where to; made where it is missing.
        """
        self.measures.save(folder)
        if self.shift is not None:
            self.shift.save(folder)
        else:  # of an earlier audit
            (folder / "shift.json").unlink(missing_ok=True)
        self.manifest.save(folder)


def audit(data: Path, layout: Layout | None = None, cache_folder: Path | None = None) -> Manifest:
    """Find the photos of a data set, read each once, and list what is wrong.

    Args:
        data: A folder, or a CSV or Parquet file.
        layout: How the photos are laid out; looked for where it is not said.
        cache_folder: Where to remember what was read, so that the next audit reads only what
            changed; where that is not said, the user's cache.

    Returns:
        Every photo, with its group, and the issues.

    Raises:
        DataError: If there are no labelled photos in `data`.
    """  # noqa: DOC502 raised by `find_photos`
    return _audited(data, layout, cache_folder)[0]


def full_audit(
    data: Path,
    layout: Layout | None = None,
    cache_folder: Path | None = None,
    look: Look | None = None,
    corrections: Corrections | None = None,
) -> Audit:
    """Do all that `audit` does, compare test with train photos, and let a network look.

    Args:
        data: A folder, or a CSV or Parquet file.
        layout: How the photos are laid out; looked for where it is not said.
        cache_folder: Where to remember what was read; where that is not said, the user's cache.
        look: The network; none to do without.
        corrections: Decisions about photos to carry out first: what is excluded is not there.

    Returns:
        All that was found.

    Raises:
        DataError: If there are no labelled photos in `data`, or the corrections are of others.
    """  # noqa: DOC502 raised by what it calls
    manifest, measures = _audited(data, layout, cache_folder, corrections)
    corrected = corrections.summary() if corrections is not None else None
    if look is None:
        shift = find_shift(manifest, measures)
        return Audit(manifest, measures, shift, looked=False, corrected=corrected)
    features = look(manifest)
    outliers = find_outliers(manifest, features)
    added = pl.DataFrame(outliers, schema=ISSUE_COLUMNS, orient="row")
    issues = pl.concat([manifest.issues, added]).sort("issue", "id")
    shift = find_shift(manifest, measures, features)
    return Audit(
        replace(manifest, issues=issues), measures, shift, looked=True, corrected=corrected
    )


def _audited(
    data: Path,
    layout: Layout | None,
    cache_folder: Path | None,
    corrections: Corrections | None = None,
) -> tuple[Manifest, Measures]:
    data = data.absolute()
    found = find_photos(data, layout)
    if found.passed_over:
        beside = listed([f"{name}/" for name in found.passed_over])
        say(
            f"{data} also holds photos in {beside}, which are not read: folds of train/ take the "
            "place of a validation set. To learn from them too, move them into train/<class>/"
        )
    if found.nested:
        say(
            f"{data}: photos in {listed(found.nested)} count as photos of the folder above. If "
            "these folders are the classes, list the photos in a table (path,label)"
        )
    photos = found.photos if corrections is None else corrections.carried_out(found.photos)
    scans = (cache_folder or default_cache_folder()) / "scans"
    memory = scans / f"{fingerprint(str(data), SCAN_VERSION)}.parquet"
    scanned = scan([photo.path for photo in photos], memory)
    table = _photo_table(photos, found.root, scanned)
    labels = Labels.of(photo.label for photo in photos if photo.label is not None)
    alike = find_alike(table, found.root, scanned.thumbs)
    groups = pl.Series(group_numbers(table, alike), dtype=pl.Int64)
    table = table.with_columns(group=groups, scene=pl.Series(alike.scene, dtype=pl.Int64))
    further = [
        *duplicate_issues(table, alike, labels),
        *small_class_issues(table, SMALL_CLASS_BELOW),
    ]
    issues = [
        *_faults(pl.concat([table, scanned.measures], how="horizontal")),
        pl.DataFrame(further, schema=ISSUE_COLUMNS, orient="row"),
    ]
    manifest = Manifest(labels, found.root, table, pl.concat(issues).sort("issue", "id"))
    return manifest, _measured(table, scanned.measures)


def _measured(table: pl.DataFrame, measures: pl.DataFrame) -> Measures:
    megapixels = pl.col("width_px") * pl.col("height_px") / 1e6
    size_kb = pl.when("readable").then(pl.col("size_bytes") / 1e3)
    both = pl.concat([table, measures], how="horizontal")
    both = both.with_columns(megapixels=megapixels, size_kb=size_kb)
    return Measures(both.select(pl.col(name).cast(kind) for name, kind in MEASURE_COLUMNS.items()))


def summary(manifest: Manifest) -> Iterator[str]:
    """Tell in a few lines what an audit found.

    Args:
        manifest: What it found.

    Yields:
        Lines: how many photos and classes there are, then how many have each issue.
    """
    parts = manifest.table["part"]
    num_groups = manifest.trainable()["group"].n_unique()
    yield (
        f"{(parts == 'train').sum():,} train photos of {len(manifest.labels.names):,} classes in"
        f" {num_groups:,} groups, {(parts == 'test').sum():,} test photos"
    )
    yield "issues, with the number of photos:" if manifest.issues.height else "no issues"
    for issue, num in manifest.issues.group_by("issue").len().sort("issue").iter_rows():
        yield f"  {issue:<22}{num:>7,}"


def _photo_table(photos: tuple[PhotoRef, ...], root: Path, scanned: Scan) -> pl.DataFrame:
    # The manifest's table, with groups still to come.
    said = pl.DataFrame(
        {
            "id": [photo.id for photo in photos],
            "path": [_stored(photo.path, root) for photo in photos],
            "part": [photo.part for photo in photos],
            "label": [photo.label for photo in photos],
            "fold": [photo.fold for photo in photos],
            "user_group": [photo.group for photo in photos],
        }
    )
    phash = pl.Series("phash", perceptual_hashes(scanned.thumbs), dtype=pl.UInt64)
    readable = pl.col("reason").is_null()
    columns = [pl.col(name).cast(kind) for name, kind in PHOTO_COLUMNS.items()]
    return (
        pl.concat([said, scanned.table], how="horizontal")
        .with_columns(phash, readable=readable, group=None, scene=None)
        .with_columns(phash=pl.when("readable").then("phash"))
        .select(columns)
    )


def _stored(path: Path, root: Path) -> str:
    try:
        return below(path, root)
    except ValueError:
        return str(path)


class _Rule(NamedTuple):
    """One kind of fault: which photos have it, how much of it, and how it is told."""

    issue: str
    when: pl.Expr
    score: pl.Expr
    detail: pl.Expr


def _faults(photos: pl.DataFrame) -> list[pl.DataFrame]:
    tables = []
    for rule in _rules():
        detail = rule.detail.alias("detail")
        columns = ["id", pl.lit(rule.issue).alias("issue"), rule.score.alias("score"), detail]
        chosen = photos.filter(rule.when).select(columns)
        tables.append(chosen.cast({"score": pl.Float64}))
    return tables


def _rules() -> Iterable[_Rule]:
    col, none = pl.col, pl.lit(None)
    yield _Rule("unreadable", ~col("readable"), none, col("reason"))
    suffix = col("path").str.extract(r"(\.[^./]*)$").str.to_lowercase().fill_null("no suffix")
    right = [(col("format") == kind) & suffix.is_in(named) for kind, named in _SUFFIXES.items()]
    both = pl.format("{} by its content, {} by its name", col("format"), suffix)
    yield _Rule("wrong_suffix", col("readable") & ~pl.any_horizontal(right), none, both)
    for issue, note, told in (
        ("animated", "animated", "the first picture is used"),
        ("cmyk", "cmyk", "made for print; its colours are turned into RGB"),
        ("exif_rotated", "exif-rotated", "turned upright as its EXIF data says"),
    ):
        yield _Rule(issue, col("notes").list.contains(note), none, pl.lit(told))
    yield from _size_rules()
    yield from _light_rules()


def _size_rules() -> Iterable[_Rule]:
    width, height = pl.col("width_px"), pl.col("height_px")
    short, long = pl.min_horizontal(width, height), pl.max_horizontal(width, height)
    size = pl.format("{} x {} pixels", width, height)
    yield _Rule("tiny", short < TINY_BELOW_PX, short, size)
    megapixels = width * height / 1e6
    yield _Rule("huge", megapixels >= HUGE_FROM_MEGAPIXELS, megapixels, size)
    yield _Rule("odd_aspect", long / short >= ODD_ASPECT_FROM, long / short, size)


def _light_rules() -> Iterable[_Rule]:
    for issue, column, low, high, told in (
        ("dark", "lit_share", 0, DARK_BELOW, "{} % of it is not dark"),
        ("over_exposed", "white_share", OVER_EXPOSED_FROM, 2, "{} % of it is white"),
        ("grey", "colour_share", 0, GREY_BELOW, "{} % of it has some colour"),
    ):
        value = pl.col(column)
        percent = pl.format(told, (100 * value).round(1))
        yield _Rule(issue, (value >= low) & (value < high), value, percent)
    sharpness, contrast = pl.col("sharpness"), pl.col("contrast")
    sharp = pl.format("sharpness {}, usually 0.5 to 1", sharpness.round(2))
    # A flat photo has no edges that could be sharp.
    seen = contrast >= LOW_INFORMATION_BELOW
    yield _Rule("blurred", (sharpness < BLURRED_BELOW) & seen, sharpness, sharp)
    flat = pl.format("grey levels vary by {} of 255", contrast.round(1))
    yield _Rule("low_information", ~seen, contrast, flat)
