"""Demo photos drawn by the project itself, laid out like a DACON download.

OUT/train/<class>/<class>_NNNN.jpg      OUT/test/TEST_NNNNN.jpg
OUT/test.csv                            ID,img_path
OUT/sample_submission.csv               UTF-8 with a BOM: ID and the sorted class names
OUT/test_labels.csv                     ID,label: only to score a finished prediction
OUT/about.csv                           file,kind,of: interiors, wheels and copies in train
OUT/demo.json                           what the photos were drawn from
"""

import csv
import json
import multiprocessing
import shutil
import signal
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import pairwise
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import numpy as np

from chajong.environment import num_cores
from chajong.errors import DataError, ResourceError
from chajong.files import locked, make_folder, write_json, writing
from chajong.folders import is_free
from chajong.photos.drawing.album import Album, Planted, draw_album
from chajong.photos.drawing.names import default_names, kinship
from chajong.progress import Progress
from chajong.wording import nfc

_DRAWING = 1  # to be raised whenever the same arguments give other photos
_RECORD = "demo.json"


def render_demo(
    out: Path,
    num_models: int = 12,
    per_model: int = 60,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    num_processes: int | None = None,
) -> None:
    """Draw demo photos of cars; the same arguments give the same bytes, those there are kept.

    Args:
        out: The folder to make; it appears when all photos are done.
        num_models: How many models, 1 or more; not looked at where `class_names` are given.
        per_model: Train photos of each model, 4 to 9,999; a quarter as many test photos come with
            them.
        seed: 0 or more; another seed, other cars.
        class_names: The names of the models, made up where they are not given. Names that differ
            only in their years become facelifts, those with the same first word generations.
        num_processes: How many processes draw; by default one a core.

    Raises:
        DataError: If an argument cannot be used, or `out` holds something else.
        ResourceError: If the disk is full or the place may not be written.
    """  # noqa: DOC503 ResourceError raised by `writing`
    names = _checked_names(class_names, num_models)
    for what, value, low, high in (("per_model", per_model, 4, 9999), ("seed", seed, 0, 2**32)):
        if not low <= value <= high:
            raise DataError(f"{what} of the demo photos must be {low} to {high:,}, got {value:,}.")
    record = {
        "drawing": _DRAWING,
        "seed": seed,
        "per_model": per_model,
        "class_names": list(names),
    }
    out = out.resolve()
    if _is_done(out, record):
        return
    partial = out.with_name(f".{out.name}.partial")
    lock = out.with_name(f".{out.name}.lock")  # beside it, as `partial` is renamed
    # A script that does not mind `__main__` is run again by the processes that draw: these would
    # wait for the very process that waits for them. They have a name before they have a parent.
    is_main = current_process().name == "MainProcess"
    with writing(out), locked(lock, wait=is_main) as held:
        if not held:
            raise ResourceError(
                f"Another process draws {out} now. If it is this script: what calls demo_photos "
                'must stand below `if __name__ == "__main__":`.'
            )
        try:
            if _is_done(out, record):  # by another process, meanwhile
                return
            make_folder(partial)
            _render(partial, names, per_model, seed, num_processes)
            write_json(partial / _RECORD, record)
            partial.replace(out)
        finally:  # only by the process that holds the lock
            shutil.rmtree(partial, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _checked_names(class_names: Sequence[str] | None, num_models: int) -> tuple[str, ...]:
    if class_names is None:
        if num_models < 1:
            raise DataError(f"The demo needs 1 model or more, got {num_models}.")
        return default_names(num_models)
    names = sorted(nfc(name) for name in class_names)
    if not names:
        raise DataError("The demo needs 1 class name or more, got none.")
    for name in names:
        if not name.strip() or name != name.strip() or name.startswith(".") or "/" in name:
            raise DataError(
                f"{name!r} cannot be the name of a class folder: give names that are not empty, do "
                "not begin with a dot or a space and hold no slash."
            )
        if not name.isprintable() or len(name.encode()) > 200:
            raise DataError(
                f"{name[:40]!r} cannot be the name of a class folder: it must be printable and at "
                "most 200 bytes long."
            )
    for one, other in pairwise(names):
        if one == other:
            raise DataError(f"The class name {one!r} is given twice: each must be given once.")
    return tuple(names)


def _is_done(out: Path, record: dict[str, Any]) -> bool:
    # Whether the very photos are there already; refuses a folder that holds anything else.
    if is_free(out):
        return False
    advice = "Choose another folder, or remove this one and run again."
    try:
        there = dict(json.loads((out / _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise DataError(f"{out} is not empty and holds no demo photos. {advice}") from None
    if there != record:
        keys = ", ".join(key for key in record if there.get(key) != record[key])
        raise DataError(f"{out} holds demo photos that differ in: {keys}. {advice}")
    num_photos = len(record["class_names"]) * (record["per_model"] + record["per_model"] // 4)
    num_there = sum(1 for _ in out.glob("t*/**/*.jpg"))
    if num_there != num_photos:
        raise DataError(f"{out} holds {num_there:,} of {num_photos:,} demo photos. {advice}")
    return True


def _render(
    folder: Path, names: tuple[str, ...], per_model: int, seed: int, num_processes: int | None
) -> None:
    for part in ("train", "test"):  # what a killed run may have left
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).mkdir()
    num_test = per_model // 4
    order = np.random.default_rng((seed, len(names))).permutation(len(names) * num_test)
    ids = [f"TEST_{number:05d}" for number in order.tolist()]
    albums = []
    for model, (name, kin) in enumerate(zip(names, kinship(names), strict=True)):
        train, own = folder / "train" / name, ids[model * num_test : (model + 1) * num_test]
        train.mkdir()
        files = tuple(train / f"{name}_{index:04d}.jpg" for index in range(per_model))
        test = tuple(folder / "test" / f"{id_}.jpg" for id_ in own)
        albums.append(Album(seed, model, kin, files, test))
    planted = _draw(albums, num_processes or num_cores())
    _write_tables(folder, names, np.repeat(names, num_test).tolist(), ids)
    about = [
        (f"train/{name}", photo)
        for name, photos in zip(names, planted, strict=True)
        for photo in photos
    ]
    rows = [(f"{where}/{p.file}", p.kind, f"{where}/{p.of}" if p.of else "") for where, p in about]
    _write_csv(folder / "about.csv", ("file", "kind", "of"), sorted(rows))


def _draw(albums: list[Album], num_processes: int) -> list[tuple[Planted, ...]]:
    # Draw all albums, in this process or in several.
    num_photos = sum(len(album.train) + len(album.test) for album in albums)
    num_processes = min(num_processes, len(albums))
    with Progress("drawing demo photos", num_photos) as progress:
        if num_processes == 1:
            return [_counted(progress, album, draw_album(album)) for album in albums]
        # Not forked: the caller may run threads whose locks a fork would copy.
        spawn = multiprocessing.get_context("spawn")
        deaf = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's
        pool = ProcessPoolExecutor(num_processes, spawn, signal.signal, deaf)
        try:
            futures = {pool.submit(draw_album, album): album for album in albums}
            for future in as_completed(futures):
                _counted(progress, futures[future], future.result())
            return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)


def _counted(progress: Progress, album: Album, planted: tuple[Planted, ...]) -> tuple[Planted, ...]:
    progress.advance(len(album.train) + len(album.test))
    return planted


def _write_tables(folder: Path, names: tuple[str, ...], labels: list[str], ids: list[str]) -> None:
    rows = sorted(zip(ids, labels, strict=True))
    _write_csv(folder / "test_labels.csv", ("ID", "label"), rows)
    _write_csv(
        folder / "test.csv", ("ID", "img_path"), ((id_, f"./test/{id_}.jpg") for id_, _ in rows)
    )
    even = (f"{1 / len(names):.6g}",) * len(names)
    _write_csv(
        folder / "sample_submission.csv",
        ("ID", *names),
        ((id_, *even) for id_, _ in rows),
        encoding="utf-8-sig",
    )


def _write_csv(
    path: Path,
    columns: tuple[str, ...],
    rows: Iterable[tuple[str, ...]],
    encoding: str = "utf-8",
) -> None:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
