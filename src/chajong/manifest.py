"""The manifest: every photo of a data set, what is known of it, and what is wrong with it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from chajong.errors import DataError
from chajong.file_names import ISSUES, LABELS, MANIFEST
from chajong.files import fingerprint, sha256_of, write_table
from chajong.labels import Labels
from chajong.parquet import read_parquet, read_texts
from chajong.wording import listed

PHOTO_COLUMNS = pl.Schema(
    {
        "id": pl.String,
        "path": pl.String,
        "part": pl.String,
        "label": pl.String,
        "fold": pl.Int64,
        "user_group": pl.String,
        "size_bytes": pl.Int64,
        "sha256": pl.String,
        "phash": pl.UInt64,
        "width_px": pl.Int64,
        "height_px": pl.Int64,
        "format": pl.String,
        "readable": pl.Boolean,
        "reason": pl.String,
        "group": pl.Int64,
        "scene": pl.Int64,
    }
)
ISSUE_COLUMNS = pl.Schema(
    {
        "id": pl.String,
        "issue": pl.String,
        "score": pl.Float64,
        "detail": pl.String,
    }
)


@dataclass(frozen=True)
class Manifest:
    """The photos of a data set, with their classes, duplicates and faults.

    Attributes:
        labels: The classes, of which every train photo has one.
        root: The absolute folder that paths count from.
        table: A row a photo: `id`, `path` (from the root, or absolute where it lies elsewhere; as
            on disk), `part` (`train`, `test`, or `excluded` by a correction), `label` (null for
            test photos), `fold` and `user_group` (null where the user gave none), `size_bytes`,
            `sha256`, `phash`,
            `width_px`, `height_px` (upright), `format`, `readable`, `reason` (why not readable),
            `group` (photos that must share a fold have the same), `scene` (so have copies and
            near-duplicates, whatever groups the user has).
        issues: A row an issue of a photo: `id`, `issue`, `score`, `detail`.
    """

    labels: Labels
    root: Path
    table: pl.DataFrame
    issues: pl.DataFrame

    def __post_init__(self) -> None:
        """Refuse photos that cannot be told apart, or whose class is not known.

        Raises:
            DataError: If columns are missing, ids repeat, a train photo has no label or one
                outside the labels, or an issue is of no photo.
        """
        for name, table, columns in (
            ("photos", self.table, PHOTO_COLUMNS),
            ("issues", self.issues, ISSUE_COLUMNS),
        ):
            if table.schema != columns:
                raise DataError(
                    f"The {name} of a manifest need the columns {', '.join(columns)} with their"
                    f" types, but have {table.schema}. Make it again with: chajong audit"
                )
        ids = self.table["id"]
        if repeated := ids.filter(ids.is_duplicated()).unique().sort().to_list():
            raise DataError(f"Ids must be unique in a manifest, but {listed(repeated)} repeat.")
        train = self.table.filter(pl.col("part") == "train")["label"]
        if unknown := set(train.to_list()) - set(self.labels.names):
            raise DataError(
                "Every train photo needs a label that is among the classes, but"
                f" {listed(sorted(map(str, unknown)))} are not."
            )
        if strange := set(self.issues["id"].to_list()) - set(ids.to_list()):
            raise DataError(f"Issues of photos that are not there: {listed(sorted(strange))}.")

    def trainable(self) -> pl.DataFrame:
        """Choose the photos that can be learnt from.

        Returns:
            The readable train rows, sorted by id.
        """
        return self.table.filter((pl.col("part") == "train") & pl.col("readable")).sort("id")

    def to_cache(self) -> dict[str, Path]:
        """Choose the photos whose pixels are kept.

        Returns:
            The file of each content: of train photos, also of those that a correction excludes, so
            that the cache stays the same.
        """
        kept = pl.col("part").is_in(["train", "excluded"]) & pl.col("readable")
        rows = self.table.filter(kept).select("sha256", "path").iter_rows()
        return {sha256: self.path_of(path) for sha256, path in rows}

    def check_classes(self) -> None:
        """Refuse photos that leave a class unlearned.

        Raises:
            DataError: If fewer than two classes have a photo that can be read, or one has none.
        """
        seen = self.trainable()["label"].unique().sort().to_list()
        if len(seen) < 2:
            found = f"only {seen[0]!r}" if seen else "no photo that can be read"
            raise DataError(
                f"Telling models apart takes photos of 2 classes or more, but {self.root} has"
                f" {found}. Add the other classes, each in its own folder."
            )
        if lost := [name for name in self.labels.names if name not in set(seen)]:
            raise DataError(
                f"{len(lost):,} of {len(self.labels.names):,} classes have no photo that can be"
                f" read: {listed(lost)}. A model would give them a probability without having seen"
                " one. Mend their photos (chajong audit DATA says what is wrong with them), or take"
                " them away."
            )

    def groups(self) -> dict[str, int]:
        """Tell which photos belong together.

        Returns:
            The group of each photo by its id.
        """
        return dict(zip(self.table["id"], self.table["group"], strict=True))

    @cached_property
    def fingerprint(self) -> str:
        """Name this manifest by what training depends on, wherever its folder lies.

        Returns:
            16 hexadecimal digits over the classes, and id, label, content, group and, where the
            user gave any, fold of the readable train photos.
        """
        rows = self.trainable()
        # A group goes by its first photo, because its number also hangs on the test photos.
        group = pl.col("id").first().over("group")
        fold = ["fold"] if rows["fold"].null_count() < rows.height else []
        columns = rows.select("id", "label", "sha256", *fold, group=group)
        return fingerprint("manifest", self.labels.fingerprint, columns.to_dict(as_series=False))

    def path_of(self, path: str) -> Path:
        """Give the file of a row.

        Args:
            path: The `path` of a row.

        Returns:
            The absolute path.
        """
        return self.root / path

    def save(self, folder: Path) -> None:
        """Write the manifest as two Parquet tables and a JSON file.

        Args:
            folder: Where to; made where it is missing.
        """
        self.labels.save(folder / LABELS)
        write_table(folder / ISSUES, self.issues)
        # Last, because it vouches for the other two.
        facts = {
            "root": str(self.root),
            "fingerprint": self.fingerprint,
            "issues": sha256_of(folder / ISSUES),
        }
        write_table(folder / MANIFEST, self.table, metadata=facts)

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read a manifest that `save` wrote.

        Args:
            folder: Where it was saved.

        Returns:
            The manifest.

        Raises:
            DataError: If it is missing or damaged, or its files belong to different manifests.
        """
        if not (folder / MANIFEST).is_file():
            raise DataError(f"There is no manifest in {folder}. Make one with: chajong audit DATA")
        try:
            facts = read_texts(folder / MANIFEST)
            table = read_parquet(folder / MANIFEST)
            issues = read_parquet(folder / ISSUES)
            issues_sha256 = sha256_of(folder / ISSUES)
            root = Path(facts["root"])
        except (OSError, KeyError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"The manifest in {folder} cannot be read ({error}). Make it again with: chajong"
                " audit DATA"
            ) from error
        if "scene" not in table.columns:  # before there were scenes, nothing is known of those
            own = pl.col("user_group").is_not_null()  # that the user put together
            scene = pl.when(own).then(-1 - pl.int_range(pl.len())).otherwise("group")
            table = table.with_columns(scene=scene.cast(pl.Int64))
        manifest = cls(Labels.load(folder / LABELS), root, table, issues)
        # Older versions did not vouch for the issues.
        is_theirs = facts.get("issues", issues_sha256) == issues_sha256
        if not is_theirs or manifest.fingerprint != facts.get("fingerprint"):
            raise DataError(
                f"The files of the manifest in {folder} do not belong together. Make it again"
                " with: chajong audit DATA"
            )
        return manifest
