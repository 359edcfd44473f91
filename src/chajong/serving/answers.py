"""Answers on disk: parts that are written while photos are still being read, then one file.

Shapes: n photos, c classes.
"""

import csv
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np
import polars as pl

from chajong.bundle_place import refuse_inside
from chajong.depths import DEEPEST_FIRST
from chajong.errors import DataError
from chajong.files import fingerprint, locked, make_folder, replacing, write_text
from chajong.gallery import Neighbour
from chajong.parquet import join_parquet, read_parquet, read_texts
from chajong.predictions import Predictions
from chajong.progress import say
from chajong.serving.verdict import Verdict
from chajong.wording import listed

SUFFIXES = (".parquet", ".csv", ".jsonl")

VERDICT_COLUMNS = pl.Schema(
    {
        "level": pl.String,
        "abstained": pl.Boolean,
        "score": pl.Float64,
        "reason": pl.String,
        "strangeness": pl.Float64,
        "make": pl.String,
        "make_ko": pl.String,
        "model": pl.String,
        "generation": pl.String,
        "exact": pl.String,
        "year_from": pl.Int64,
        "year_to": pl.Int64,
        **{f"{name}_prob": pl.Float64 for name in DEEPEST_FIRST},
    }
)
"""What answers hold of a verdict: its fields, and the probability of the likeliest group at each
level, empty where the catalogue has no name for it."""

NEAREST = "nearest"
"""The column of the nearest training photos, where they were asked for."""

_TOP = 5
_NEAREST_TYPE = pl.List(
    pl.Struct({"photo": pl.String, "class": pl.String, "similarity": pl.Float64})
)


def check_out(out: Path) -> Path:
    """Refuse a file where answers cannot be written, or in an unknown form.

    Args:
        out: The file to write.

    Returns:
        The same.

    Raises:
        DataError: If its suffix is unknown, or a folder is there, or a file of something else.
        BundleError: If it would lie in a bundle.
    """  # noqa: DOC503 BundleError raised by `refuse_inside`
    if out.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"{out} must end in one of {listed(SUFFIXES)}, which say how answers are written."
        )
    if out.is_dir():
        raise DataError(f"{out} is a folder. Give the name of a file.")
    if not _gives_way(out):
        raise DataError(
            f"{out} is there and holds no answers, so it does not give way to them. Choose another "
            "name with --out, or take it away first."
        )
    refuse_inside(out)
    make_folder(out.parent)
    if not os.access(out.parent, os.W_OK):
        raise DataError(f"Nothing may be written into {out.parent}. Choose another with --out.")
    return out


def _gives_way(out: Path) -> bool:
    # Only answers to earlier questions: no list of photos, and no out-of-fold table.
    if not out.exists():
        return True
    try:
        if out.suffix.lower() == ".parquet":
            return read_texts(out).get("kind") == "test"
        with out.open("rb") as file:
            begin = file.read(80).decode("utf-8-sig", errors="replace")
    except OSError:
        return True  # nothing can be read there: writing will tell
    except pl.exceptions.PolarsError:
        return False
    return not begin or begin.startswith(("id,status,", '{"id": '))


def _encoding(out: Path) -> str:
    # With a BOM, so that spreadsheets read Korean.
    return "utf-8-sig" if out.suffix.lower() == ".csv" else "utf-8"


def save_predictions(predictions: Predictions, out: Path) -> None:
    """Write predictions in the form that the file's name asks for.

    Args:
        predictions: The predictions.
        out: The file: Parquet holds everything; CSV and JSON lines hold the likeliest five.
    """
    if check_out(out).suffix.lower() == ".parquet":
        predictions.save(out)
    else:
        with (
            replacing(out) as temporary,
            temporary.open("w", encoding=_encoding(out), newline="") as file,
        ):
            _write_rows(file, out, predictions, None, head=True)


def verdict_table(verdicts: Sequence[Verdict | None]) -> pl.DataFrame:
    """Lay verdicts out in columns.

    Args:
        verdicts: n verdicts; none for photos without an answer.

    Returns:
        n rows of `VERDICT_COLUMNS`.
    """

    def cell(verdict: Verdict | None, name: str) -> object:
        if verdict is None:
            return None
        level = name.removesuffix("_prob")
        if level == name:
            return getattr(verdict, name)
        return verdict.levels[level].prob if level in verdict.levels else None

    columns = {name: [cell(one, name) for one in verdicts] for name in VERDICT_COLUMNS}
    return pl.DataFrame(columns, schema=VERDICT_COLUMNS)


def nearest_column(found: Sequence[Sequence[Neighbour] | None]) -> pl.Series:
    """Lay the nearest training photos out in a column.

    Args:
        found: Those of n photos, the nearest first; none for photos without an answer.

    Returns:
        n lists of `photo` (its id), `class` and `similarity` (the cosine of the embeddings).
    """
    rows = [
        None
        if near is None
        else [
            {"photo": one.photo, "class": one.name, "similarity": round(one.similarity, 4)}
            for one in near
        ]
        for near in found
    ]
    return pl.Series(NEAREST, rows, dtype=_NEAREST_TYPE)


@dataclass(frozen=True)
class Parts:
    """Parts of answers in a folder beside the file that they will become.

    Attributes:
        out: The file.
        folder: Where the parts are.
    """

    out: Path
    folder: Path

    @classmethod
    @contextmanager
    def open(cls, out: Path, *asked: object) -> Iterator["Parts"]:
        """Go on with the parts that are there, if they answer the same question.

        Args:
            out: The file that they will become.
            *asked: All that decides what the answers are, but for the photos.

        Yields:
            The parts; no other process writes them meanwhile.

        Raises:
            DataError: If another process does so now.
        """
        check_out(out)
        folder = out.with_name(f".{out.name}.parts")
        with locked(make_folder(folder) / ".lock", wait=False) as held:
            if not held:
                raise DataError(f"Another process is writing {out} now. Wait, or choose another.")
            name = fingerprint("parts", *asked)
            record = folder / "asked"
            if record.exists() and record.read_text(encoding="utf-8") != name:
                say(f"{out}: begun with another bundle, or asked otherwise; starting anew")
                for part in folder.glob("*.parquet"):
                    part.unlink()
            write_text(record, name)
            yield cls(out, folder)

    def path(self, place: int) -> Path:
        """Tell where a part is.

        Args:
            place: Which, from 0.

        Returns:
            Its file.
        """
        return self.folder / f"{place:06}.parquet"

    def levels(self, place: int, mark: str) -> list[str | None] | None:
        """Look whether a part was answered already.

        Args:
            place: Which, from 0.
            mark: Names the photos that it must answer.

        Returns:
            At which level each is answered, none for a photo without an answer; or none at all if
            the part is not there or answers others.
        """
        try:
            if self._mark(place).read_text(encoding="utf-8") != mark:
                return None
            table = read_parquet(self.path(place), ["level"])
        except (OSError, pl.exceptions.PolarsError):
            return None
        return table["level"].to_list()

    def keep(self, place: int, mark: str, answers: Predictions, verdicts: pl.DataFrame) -> None:
        """Write a part.

        Args:
            place: Which, from 0.
            mark: Names the photos that it answers.
            answers: What is said of them.
            verdicts: A row each, as `verdict_table` makes them.
        """
        # A part is of the photos that its mark names: without a mark it is of none.
        self._mark(place).unlink(missing_ok=True)
        answers.save(self.path(place), verdicts)
        write_text(self._mark(place), mark)

    def _mark(self, place: int) -> Path:
        return self.path(place).with_suffix(".mark")

    def finish(self, num_parts: int) -> None:
        """Make the file of the parts, and remove them.

        Args:
            num_parts: How many there are.
        """
        paths = [self.path(place) for place in range(num_parts)]
        with replacing(self.out) as temporary:
            if self.out.suffix.lower() == ".parquet":
                join_parquet(paths, temporary)
            else:
                with temporary.open("w", encoding=_encoding(self.out), newline="") as file:
                    for place, path in enumerate(paths):
                        part = read_parquet(path)
                        told = [name for name in (*VERDICT_COLUMNS, NEAREST) if name in part]
                        verdicts = part[told]
                        predictions = Predictions.load(path)
                        _write_rows(file, self.out, predictions, verdicts, head=place == 0)
        shutil.rmtree(self.folder, ignore_errors=True)


def _write_rows(
    file: TextIO, out: Path, predictions: Predictions, verdicts: pl.DataFrame | None, *, head: bool
) -> None:
    if verdicts is None:
        verdicts = pl.DataFrame(schema=[], height=len(predictions.ids))
    told = (
        {name: _short(value) for name, value in row.items()}
        for row in verdicts.iter_rows(named=True)
    )
    if out.suffix.lower() == ".jsonl":
        for (id_, status, best), verdict in zip(_best(predictions), told, strict=True):
            top, top_prob = best[0] if best else (None, None)
            top5 = [{"class": name, "prob": prob} for name, prob in best]
            row = {"id": id_, "status": status, "top": top, "top_prob": top_prob, "top5": top5}
            file.write(json.dumps(row | verdict, ensure_ascii=False) + "\n")
        return
    writer = csv.writer(file, lineterminator="\n")
    if head:
        ranks = ["top", *(f"top{rank}" for rank in range(2, _TOP + 1))]
        pairs = chain(*((rank, f"{rank}_prob") for rank in ranks))
        writer.writerow(["id", "status", *pairs, *verdicts.columns])
    for (id_, status, best), verdict in zip(_best(predictions), told, strict=True):
        cells = list(chain(*best))
        said = [_text(value) for value in verdict.values()]
        writer.writerow([id_, status, *cells, *[""] * (2 * _TOP - len(cells)), *said])


def _text(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _short(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _best(predictions: Predictions) -> Iterator[tuple[str, str, list[tuple[str, float]]]]:
    # Each photo with its likeliest classes; none where there is no prediction.
    probs, ok = predictions.probabilities(), predictions.ok
    places = np.argsort(-probs, axis=1, kind="stable")[:, :_TOP]
    for row, (id_, status) in enumerate(zip(predictions.ids, predictions.statuses, strict=True)):
        best = places[row].tolist() if ok[row] else []
        yield (
            id_,
            status,
            [(predictions.classes[k], float(f"{probs[row, k]:.6g}")) for k in best],
        )
