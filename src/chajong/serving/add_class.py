"""A class added to a bundle from a few photos, without training, and taken out again.

Shapes: m photos of the new class, d features.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chajong.added import Added
from chajong.arrays import load_array, save_array
from chajong.bundle import Bundle
from chajong.bundle_place import put_in_place
from chajong.environment import package_version
from chajong.errors import BundleError, DataError
from chajong.files import make_folder
from chajong.gallery import Gallery, public_id, unit
from chajong.photos.decode import Unreadable, decode
from chajong.photos.duplicates import THUMB_PX, components, near_duplicates
from chajong.photos.preprocess import Squares
from chajong.photos.sources import open_source
from chajong.pooling import Floats
from chajong.progress import say
from chajong.record import now
from chajong.serving.card import about_names, card_text
from chajong.serving.engine import Engine
from chajong.serving.fit_class import fit
from chajong.serving.newcomers import Space
from chajong.wording import listed, nfc

MIN_PHOTOS = 5
"""Fewer photos do not show what a class looks like."""

_BATCH = 16


@dataclass(frozen=True, eq=False)
class Examples:
    """Photos of a new class.

    Attributes:
        ids: m names.
        embeddings: (m, d) of length 1.
        statuses: For each photo that was given, `ok` or why it is not used.
    """

    ids: tuple[str, ...]
    embeddings: Floats
    statuses: dict[str, str]


def add_class(engine: Engine, name: str, photos: str, out: Path, by: str = "") -> Bundle:
    """Make a bundle that knows one more class; the old one is left as it is.

    Args:
        engine: The old bundle, ready to answer.
        name: The new class.
        photos: Where its photos are, as `open_source` takes them; at least five that differ.
        out: The new bundle's folder.
        by: Who does it, for the record.

    Returns:
        The new bundle.

    Raises:
        BundleError: If the bundle has no gallery with held-out photos.
        DataError: If there is such a class already, or there are too few photos.
    """  # noqa: DOC503 BundleError raised by `_gallery`
    bundle = engine.bundle
    name = _checked_name(name, bundle)
    gallery = _gallery(bundle)
    examples = read_examples(engine, photos)
    for id_, status in examples.statuses.items():
        if status != "ok":
            say(f"{id_}: {status}")
    if len(examples.ids) < MIN_PHOTOS:
        raise DataError(
            f"{name} has {len(examples.ids)} usable photos among the {len(examples.statuses)} in "
            f"{photos}, at least {MIN_PHOTOS} are needed. Give more, from different sides."
        )
    space = Space.of(gallery, bundle.learned.names)
    for line in _taken_from_others(bundle, space, name, examples.embeddings):
        say(line)
    weights, cost, recall = fit(gallery, space, bundle.learned.names, examples.embeddings)
    number = 1 + max((int(Path(each.file).stem) for each in bundle.facts.added), default=-1)
    added = Added(
        name,
        now(),
        by,
        f"chajong {package_version('chajong')}",
        bundle.fingerprint,
        tuple(public_id(id_) for id_ in examples.ids),
        f"added/{number}.npy",
        weights,
        cost,
        recall,
    )
    embeddings = examples.embeddings.astype(np.float16)
    return _rewritten(bundle, (*bundle.facts.added, added), out, {added.file: embeddings})


def _taken_from_others(
    bundle: Bundle, space: Space, name: str, embeddings: Floats
) -> Iterator[str]:
    # What a class costs is measured on learned ones; of those added before there are few photos.
    middle = space.middle(embeddings)
    for each in bundle.facts.added:
        seen = space.put(load_array(bundle.folder / each.file))
        like_others = (seen * unit(seen.sum(axis=0) - seen)).sum(axis=1)
        num = int((seen @ middle > like_others).sum())
        if 2 * num >= len(seen):
            yield (
                f"{num} of the {len(seen)} photos of {each.name}, added before, are more like "
                f"{name} than like each other: the two will share their photos. Is it one car?"
            )


def remove_class(bundle: Bundle, name: str, out: Path) -> Bundle:
    """Make a bundle without a class that was added; it answers as if it had never been added.

    Args:
        bundle: The bundle.
        name: The added class.
        out: The new bundle's folder.

    Returns:
        The new bundle.

    Raises:
        DataError: If no such class was added.
    """
    name = nfc(name)
    kept = tuple(each for each in bundle.facts.added if each.name != name)
    if len(kept) == len(bundle.facts.added):
        names = listed(each.name for each in bundle.facts.added) or "none"
        raise DataError(
            f"{name} was not added to {bundle.folder}, so it cannot be taken out. Added: {names}."
        )
    return _rewritten(bundle, kept, out, {})


def read_examples(engine: Engine, photos: str) -> Examples:
    """Look at the photos of a new class.

    Args:
        engine: Who looks.
        photos: Where they are.

    Returns:
        Those that can be used, each picture once, and what became of the others.
    """
    statuses: dict[str, str] = {}
    squares: list[Squares] = []
    thumbs: list[NDArray[np.uint8]] = []
    for asked in open_source(photos).photos():
        if asked.id in statuses:  # on standard input
            continue
        try:
            data = asked.read()
            thumb, square = _thumb(data), engine.prepare(data)
            statuses[asked.id] = "ok"
            thumbs.append(thumb)
            squares.append(square)
        except Unreadable as error:
            statuses[asked.id] = f"unreadable: {error.reason}"
    ids = [id_ for id_, status in statuses.items() if status == "ok"]
    first = _first_of_kind(thumbs)
    for place, same in enumerate(first.tolist()):
        if same != place:
            statuses[ids[place]] = f"the same picture as {ids[same]}"
    kept = [place for place, same in enumerate(first.tolist()) if same == place]
    parts = [
        engine.look([squares[place] for place in kept[start : start + _BATCH]]).embeddings
        for start in range(0, len(kept), _BATCH)
    ]
    seen = [part for part in parts if part is not None]
    embeddings = np.concatenate(seen) if seen else np.zeros((0, 0), np.float32)
    return Examples(tuple(ids[place] for place in kept), embeddings, statuses)


def _checked_name(name: str, bundle: Bundle) -> str:
    name = nfc(name).strip()
    if not name or not name.isprintable():
        raise DataError(
            "A class needs a name in a line of text. Give one such as Hyundai_Sonata_Sedan_2012."
        )
    if name in bundle.labels.names:
        raise DataError(
            f"{bundle.folder} has a class {name} already. Choose another name, or first take it "
            "out with --undo if it was added."
        )
    return name


def _gallery(bundle: Bundle) -> Gallery:
    gallery = bundle.gallery
    if gallery is None or not len(gallery.held_out):
        why = "no gallery" if gallery is None else "no held-out photos in its gallery"
        raise BundleError(
            f"{bundle.folder} has {why}, so a class cannot be added. Export it again with this "
            "version, from a run with folds whose photos are where they were."
        )
    return gallery


def _rewritten(
    bundle: Bundle,
    added: Sequence[Added],
    out: Path,
    files: dict[str, NDArray[np.float16]],
) -> Bundle:
    if out.resolve() == bundle.folder.resolve():
        raise DataError(
            f"{out} is the old bundle, which is kept. Choose another folder with --out."
        )

    def make(draft: Path) -> None:
        bundle.copy_to(draft)
        for each in bundle.facts.added:
            if each not in added:
                (draft / each.file).unlink()
                with suppress(OSError):  # others may be left in it
                    (draft / each.file).parent.rmdir()
        for name, values in files.items():
            make_folder((draft / name).parent)
            save_array(draft / name, values)
        facts = replace(bundle.facts, added=tuple(added))
        card = {name: value for name, value in bundle.card().items() if name != "added"}
        if added:
            card["added"] = [asdict(each) for each in added]
        made = replace(bundle, folder=draft, facts=facts)
        card |= about_names(made.labels)
        made.save(card, card_text(card))

    return put_in_place(out, make)


def _thumb(data: bytes) -> NDArray[np.uint8]:
    photo = Image.fromarray(decode(data, at_least_px=2 * THUMB_PX).pixels).convert("L")
    small = photo.resize((2 * THUMB_PX, 2 * THUMB_PX), Image.Resampling.BOX)
    return np.array(small.reduce(2))


def _first_of_kind(thumbs: Sequence[NDArray[np.uint8]]) -> NDArray[np.intp]:
    # For each photo the first one that shows the same picture.
    if len(thumbs) < 2:
        return np.arange(len(thumbs))
    pairs = near_duplicates(np.stack(thumbs))
    return components(len(thumbs), pairs.first, pairs.second)
