"""Corrections: what people decided about photos, kept beside the photos and never done to them."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, cast, get_args

import polars as pl

from chajong.errors import DataError
from chajong.files import fingerprint, write_text
from chajong.labels import Labels
from chajong.manifest import ISSUE_COLUMNS, Manifest
from chajong.photos.layout import PhotoRef
from chajong.tables import read_columns
from chajong.wording import did_you_mean, listed, nfc

Action = Literal["keep", "exclude", "relabel"]
COLUMNS = ("id", "action", "label", "who", "when", "why")


@dataclass(frozen=True)
class Decision:
    """What somebody decided about a photo.

    Attributes:
        id: The photo's id in the manifest.
        action: `keep` (its label is right), `exclude` (do not learn from it) or `relabel`.
        label: The right class, for `relabel` only; in NFC.
        who: Who decided.
        when: ISO 8601 with a time zone, such as 2026-01-31T09:00:00+00:00.
        why: In words; may be empty.
    """

    id: str
    action: Action
    label: str | None
    who: str
    when: str
    why: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out.

        Raises:
            DataError: If the id is empty, the action is unknown, a label is missing or too much,
                or the time is none.
        """
        for problem in self._problems():
            raise DataError(f"The decision about {self.id!r} cannot be used: {problem}.")

    def _problems(self) -> Iterator[str]:
        if not self.id:
            yield "its id is empty"
        if self.action not in get_args(Action):
            meant = did_you_mean(str(self.action), get_args(Action))
            yield f"action must be {', '.join(get_args(Action))}, got {self.action!r}{meant}"
        elif (self.action == "relabel") != bool(self.label):
            needs = "needs a label" if self.action == "relabel" else "must have no label"
            yield f"action {self.action!r} {needs}, got {self.label!r}"
        if self.label is not None and self.label != nfc(self.label):
            yield f"label {self.label!r} must be in Unicode NFC"
        try:
            aware = datetime.fromisoformat(self.when).tzinfo is not None
        except ValueError:
            aware = False
        if not aware:
            yield f"when must be ISO 8601 with a time zone, got {self.when!r}"


@dataclass(frozen=True)
class Corrections:
    """Decisions, the last one about each photo.

    Attributes:
        decisions: In the order in which they were made.
    """

    decisions: tuple[Decision, ...] = ()

    def __post_init__(self) -> None:
        """Refuse two decisions about one photo.

        Raises:
            DataError: If ids repeat.
        """
        counts = Counter(decision.id for decision in self.decisions)
        if repeated := [id_ for id_, count in counts.items() if count > 1]:
            raise DataError(
                f"There must be one decision about a photo, but {listed(repeated)} have several. "
                "Keep the one that is right."
            )

    @property
    def fingerprint(self) -> str:
        """Names the corrections by what they do, whoever decided it and when."""
        return fingerprint("corrections", sorted((d.id, d.action, d.label) for d in self.decisions))

    def of(self, id_: str) -> Decision | None:
        """Look a decision up.

        Args:
            id_: A photo's id.

        Returns:
            The decision about it, if there is one.
        """
        return next((decision for decision in self.decisions if decision.id == id_), None)

    def with_decision(self, decision: Decision) -> "Corrections":
        """Add a decision, in place of an earlier one about the same photo.

        Args:
            decision: The decision.

        Returns:
            All of them, this one last.
        """
        return Corrections((*self.without(decision.id).decisions, decision))

    def without(self, id_: str) -> "Corrections":
        """Take a decision back.

        Args:
            id_: A photo's id.

        Returns:
            The others.
        """
        return Corrections(tuple(d for d in self.decisions if d.id != id_))

    def save(self, path: Path) -> None:
        """Write them as CSV, with a BOM, so that spreadsheets read Korean.

        Args:
            path: The file to make or replace, at once or not at all.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(decision) for decision in self.decisions)
        write_text(path, "\ufeff" + text.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Corrections":
        """Read corrections.

        Args:
            path: A CSV with the columns id, action, label, who, when, why; BOM and CRLF are fine.

        Returns:
            The corrections.

        Raises:
            DataError: If the file cannot be read, a column is missing, or rows cannot be used;
                each is named by its number below the header.
        """
        table = read_columns(path, dict.fromkeys(COLUMNS, pl.String), may_be_empty=COLUMNS)
        decisions, problems = [], []
        for number, row in enumerate(table.iter_rows(named=True), start=1):
            label = row["label"] or None
            try:
                decisions.append(
                    Decision(
                        id=nfc(row["id"] or ""),
                        action=cast(Action, row["action"]),
                        label=nfc(label) if label is not None else None,
                        who=row["who"] or "",
                        when=row["when"] or "",
                        why=row["why"] or "",
                    )
                )
            except DataError as error:
                problems.append(f"\n  row {number}: {error}")
        if problems:
            rest = f"\n  and {len(problems) - 10:,} more" if len(problems) > 10 else ""
            raise DataError(f"{path} has rows that cannot be used:{''.join(problems[:10])}{rest}")
        return cls(tuple(decisions))

    @classmethod
    def load_or_empty(cls, path: Path) -> "Corrections":
        """Read corrections, or begin with none.

        Args:
            path: The file, which need not be there yet.

        Returns:
            The corrections.
        """
        return cls.load(path) if path.exists() else cls()

    def apply(self, manifest: Manifest) -> Manifest:
        """Carry the decisions out on a manifest; the photos stay as they are.

        Args:
            manifest: The photos.

        Returns:
            A manifest in which excluded photos are of the part `excluded`, and others have their
            new label; every change is listed among the issues.

        Raises:
            DataError: If a photo or a class is not there, or a class has no photo left.
        """  # noqa: DOC502 raised by what it calls
        known = dict(manifest.table.select("id", "label").iter_rows())
        self._check(known, manifest.labels)
        made = replace(manifest, table=self._changed(manifest), issues=self._listed(manifest))
        before, after = (set(m.trainable()["label"]) for m in (manifest, made))
        _refuse_empty(before - after)
        return made

    def carried_out(self, photos: Sequence[PhotoRef]) -> tuple[PhotoRef, ...]:
        """Carry the decisions out on a list of photos, before any of them is read.

        Args:
            photos: The photos.

        Returns:
            The same without those that are excluded, and others with their new label.

        Raises:
            DataError: If a photo or a class is not there, or a class has no photo left.
        """  # noqa: DOC502 raised by what it calls
        known = {photo.id: photo.label for photo in photos}
        names = {label for label in known.values() if label is not None}
        self._check(known, Labels.of(names))
        decided = {d.id: d for d in self.decisions if d.action != "keep"}
        made = []
        for photo in photos:
            decision = decided.get(photo.id)
            if decision is None:
                made.append(photo)
            elif decision.action == "relabel":
                made.append(replace(photo, label=decision.label))
        _refuse_empty(names - {photo.label for photo in made if photo.label is not None})
        return tuple(made)

    def _check(self, known: Mapping[str, str | None], labels: Labels) -> None:
        if strange := [d.id for d in self.decisions if known.get(d.id) is None]:
            raise DataError(
                f"Corrections are about {len(strange):,} photo(s) that are not among the labelled "
                f"ones: {listed(strange)}{did_you_mean(strange[0], list(known))}. They belong to "
                "other data, or a photo was moved: take these rows out of the file."
            )
        labels.indices([d.label for d in self.decisions if d.label is not None])

    def _changed(self, manifest: Manifest) -> pl.DataFrame:
        excluded = [d.id for d in self.decisions if d.action == "exclude"]
        labels = {d.id: d.label for d in self.decisions if d.action == "relabel"}
        id_, part, label = pl.col("id"), pl.col("part"), pl.col("label")
        return manifest.table.with_columns(
            part=pl.when(id_.is_in(excluded)).then(pl.lit("excluded")).otherwise(part),
            label=id_.replace_strict(labels, default=label, return_dtype=pl.String),
        )

    def _listed(self, manifest: Manifest) -> pl.DataFrame:
        was = dict(manifest.table.select("id", "label").iter_rows())
        rows = []
        for d in self.decisions:
            said = f"by {d.who} at {d.when}{f': {d.why}' if d.why else ''}"
            if d.action == "exclude":
                rows.append((d.id, "excluded", None, said))
            elif d.action == "relabel":
                rows.append((d.id, "relabelled", None, f"was {was[d.id]}, {said}"))
        changes = pl.DataFrame(rows, schema=ISSUE_COLUMNS, orient="row")
        return pl.concat([manifest.issues, changes]).sort("issue", "id")

    def summary(self) -> str:
        """Say how many there are.

        Returns:
            For example "3 excluded, 2 relabelled, 10 kept".
        """
        actions: list[str] = [decision.action for decision in self.decisions]
        parts = (("exclude", "excluded"), ("relabel", "relabelled"), ("keep", "kept"))
        return ", ".join(f"{actions.count(action)} {done}" for action, done in parts)


def _refuse_empty(classes: set[str]) -> None:
    if classes:
        raise DataError(
            f"With the corrections {len(classes)} class(es) have no photo left to learn from: "
            f"{listed(sorted(classes))}. Exclude fewer, or take these classes out of the data."
        )
