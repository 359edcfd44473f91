"""What a review holds: the suspects of a run, and the decisions about them.

Each decision is on disk before anybody hears that it is saved.
"""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from chajong.corrections import Action, Corrections, Decision
from chajong.errors import DataError
from chajong.experiments.again import train_command
from chajong.held_out import whole_table
from chajong.labels import Labels
from chajong.manifest import Manifest
from chajong.metrics import merged_probs
from chajong.predictions import Predictions
from chajong.run import Run
from chajong.suspects import find_suspects
from chajong.wording import did_you_mean

_NUM_SURE, _NUM_TWINS = 6, 3


class Wish(BaseModel):
    """What the page asks to have written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    action: Action
    label: str | None = None


class Review:
    """The suspects of a run, and the one holder of the decisions about them.

    Args:
        run: The run, all folds trained.
        path: The file of corrections; made with the first decision.
        who: Who decides.
        top: How many suspects to show, the worst first; None for all.
    """

    def __init__(self, run: Run, path: Path, who: str, top: int | None = None) -> None:
        predictions, manifest = whole_table(run), run.manifest()
        table = find_suspects(predictions, run.labels, manifest).table[:top]
        self.run, self.path, self.who = run, path, who
        self.photos = {
            id_: manifest.path_of(path) for id_, path in manifest.table["id", "path"].iter_rows()
        }
        twins = _twins(table, manifest)
        self.suspects = [row | {"twins": twins.get(row["id"], [])} for row in table.to_dicts()]
        self.sure = _sure(predictions, run.labels, manifest)
        self.corrections = Corrections.load_or_empty(path)
        self._given = {row["id"]: row["label"] for row in self.suspects}
        changed = manifest.issues.filter(pl.col("issue") == "relabelled")
        self._relabelled = set(changed["id"])
        # What an undo goes back to; after a restart, first what the file says last.
        self._past: list[tuple[str, Decision | None]] = [
            (decision.id, None)
            for decision in self.corrections.decisions
            if decision.id in self._given
        ]
        self._on_disk = _bytes_of(path)
        self._writing = threading.Lock()

    @property
    def num_decided(self) -> int:
        """How many of the suspects are decided."""
        return sum(self.corrections.of(id_) is not None for id_ in self._given)

    def state(self) -> dict[str, Any]:
        """Give all that the page shows.

        Returns:
            A value for JSON.
        """
        return {
            "run": str(self.run.folder),
            "file": str(self.path),
            "next": self.next_command(),
            "classes": self.run.labels.names,
            "suspects": self.suspects,
            "sure": self.sure,
            "decisions": {
                d.id: _said(d) for d in self.corrections.decisions if d.id in self._given
            },
        }

    def decide(self, wish: Wish) -> dict[str, Any]:
        """Write a decision; when this returns, it is on disk.

        Args:
            wish: The decision.

        Returns:
            What to show of it.

        Raises:
            ChajongError: If the photo is no suspect, the class is unknown, or the file could not
                be written; nothing has changed then.
        """  # noqa: DOC503 others raised by what it calls
        if wish.id not in self._given:
            raise DataError(f"{wish.id!r} is not among the suspects.")
        names = self.run.labels.names
        if wish.label is not None and wish.label not in names:
            raise DataError(f"There is no class {wish.label!r}{did_you_mean(wish.label, names)}.")
        decision = self._decision(wish)
        with self._writing:
            before = self.corrections.of(wish.id)
            self._save(self.corrections.with_decision(decision))
            self._past.append((wish.id, before))
        return {"id": wish.id, "decision": _said(decision)}

    def undo(self) -> dict[str, Any]:
        """Take the last decision back; when this returns, the file says so.

        Returns:
            The photo, or None if there was nothing to take back, and what holds of it now.

        Raises:
            ChajongError: If the file could not be written; nothing has changed then.
        """  # noqa: DOC502 raised by `_save`
        with self._writing:
            if not self._past:
                return {"id": None, "decision": None}
            id_, before = self._past[-1]
            rest = self.corrections.without(id_)
            self._save(rest.with_decision(before) if before is not None else rest)
            self._past.pop()
        return {"id": id_, "decision": _said(before) if before is not None else None}

    def next_command(self) -> str:
        """Say what to do with the decisions.

        Returns:
            A command line.
        """
        return train_command(self.run, corrections=self.path)

    def _decision(self, wish: Wish) -> Decision:
        given = self._given[wish.id]
        row = next(row for row in self.suspects if row["id"] == wish.id)
        action, label = wish.action, wish.label
        if action == "keep" or label == given:
            # A label that an earlier correction gave is kept by giving it again.
            again = wish.id in self._relabelled
            action, label = ("relabel", given) if again else ("keep", None)
        return Decision(
            id=wish.id,
            action=action,
            label=label,
            who=self.who,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            why=(
                f"out of fold {given} {row['p_given']:.3f}, "
                f"{row['suggested']} {row['p_suggested']:.3f}"
            ),
        )

    def _save(self, corrections: Corrections) -> None:
        if not self.run.folder.is_dir():
            raise DataError(f"{self.run.folder} is no longer there. Put it back, then go on.")
        if _bytes_of(self.path) != self._on_disk:
            raise DataError(
                f"{self.path} was changed by another program. Stop the review and start it again: "
                "it goes on with what the file says now."
            )
        corrections.save(self.path)
        self.corrections, self._on_disk = corrections, _bytes_of(self.path)


def _sure(predictions: Predictions, labels: Labels, manifest: Manifest) -> dict[str, list[str]]:
    # The surest right photos of each class, none of them a duplicate of another.
    truth = predictions.truth()
    probs = merged_probs(predictions.probabilities(), labels.canonical)
    own = labels.merged_places[labels.indices([truth[id_] for id_ in predictions.ids])]
    right = probs.argmax(axis=1) == own
    groups = manifest.groups()
    found: dict[str, dict[int, str]] = {name: {} for name in labels.names}
    for row in np.argsort(-probs[np.arange(len(own)), own], kind="stable"):
        id_ = predictions.ids[row]
        shown = found[truth[id_]]
        if right[row] and len(shown) < _NUM_SURE:
            shown.setdefault(groups[id_], id_)
    return {name: list(shown.values()) for name, shown in found.items()}


def _twins(suspects: pl.DataFrame, manifest: Manifest) -> dict[str, list[dict[str, str]]]:
    # The near-duplicates that speak against a label.
    rows = manifest.trainable().select("id", "label", "scene")
    told = suspects.filter(pl.col("duplicate_says").is_not_null()).select("id", "duplicate_says")
    pairs = told.join(rows.select("id", "scene"), on="id").join(rows, on="scene", suffix="_twin")
    pairs = pairs.filter(pl.col("label") == pl.col("duplicate_says")).sort("id", "id_twin")
    twins: dict[str, list[dict[str, str]]] = {}
    for id_, twin, label in pairs["id", "id_twin", "label"].iter_rows():
        if len(twins.setdefault(id_, [])) < _NUM_TWINS:
            twins[id_].append({"id": twin, "label": label})
    return twins


def _said(decision: Decision) -> dict[str, str | None]:
    return {"action": decision.action, "label": decision.label}


def _bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
