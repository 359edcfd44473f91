"""A class added to a bundle from a few photos, without training, and taken out again.

How much a photo must be like the new photos is learned from the gallery: each learned class in turn
plays the new one. Its held-out photos are to be found by a few of its others, and held-out photos
of other classes are not to be lost to it. What it would cost these is then also measured for the
new photos themselves.

Shapes: n photos, m of them of the new class, h held-out photos, l learned classes, d features,
f figures.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chajong.added import Added
from chajong.arrays import save_array
from chajong.bundle import Bundle, put_in_place
from chajong.environment import package_version
from chajong.errors import BundleError, DataError
from chajong.files import make_folder
from chajong.gallery import Gallery, public_id
from chajong.photos.decode import Unreadable, decode
from chajong.photos.duplicates import THUMB_PX, components, near_duplicates
from chajong.photos.sources import open_source
from chajong.pooling import Floats
from chajong.progress import say
from chajong.record import now
from chajong.serving.card import about_names, card_text
from chajong.serving.engine import Engine, Squares
from chajong.serving.newcomers import Space, logit
from chajong.wording import listed, nfc

MIN_PHOTOS = 5
"""Fewer photos do not show what a class looks like."""

_MOST_COST = 0.005  # nats a photo of a learned class may lose on average; half of what is promised
_BATCH = 16
_NUM_STEPS = 30
_RIDGE = 1e-3


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
    weights, cost, recall = fit(gallery, bundle.learned.names, examples.embeddings)
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


def fit(
    gallery: Gallery, names: tuple[str, ...], embeddings: Floats
) -> tuple[tuple[float, ...], float, float]:
    """Learn what makes a photo one of a new class.

    Args:
        gallery: Photos of the learned classes.
        names: These classes.
        embeddings: (m, d) of the new class.

    Returns:
        The weights of the three figures and the shift; what the new class costs the learned ones
        in nats; and the share of photos found where learned classes play the new one.
    """
    space = Space.of(gallery, names)
    pretended = _pretend(gallery, names, space, len(embeddings))
    weights = _regress(pretended)
    seen = space.put(gallery.embeddings[gallery.held_out])
    own = Table(
        (seen @ space.middle(embeddings))[:, None],
        (seen @ space.learned.T).max(axis=1, keepdims=True),
        gallery.log_probs.max(axis=1, keepdims=True),
        np.zeros((len(seen), 1), np.bool_),
    )
    weights = _made_cheap(weights, (pretended, own))
    made = tuple(float(weight) for weight in weights.astype(np.float32))
    return made, own.cost(weights), pretended.recall(weights)


@dataclass(frozen=True, eq=False)
class Table:
    """Held-out photos against classes that may be new.

    Attributes:
        like_new: (h, a) cosine with the mean of the new class.
        like_old: (h, a) the greatest cosine with the mean of another class.
        sure: (h, a) the greatest log-probability of another class.
        is_new: (h, a) whether the photo is of the new class.
    """

    like_new: Floats
    like_old: Floats
    sure: Floats
    is_new: NDArray[np.bool_]

    def logits(self, weights: NDArray[np.float64]) -> Floats:
        """Tell how likely the photos are of the new classes.

        Args:
            weights: (4,).

        Returns:
            (h, a) logarithms of odds.
        """
        rows = np.tile(weights.astype(np.float32), (self.like_new.shape[1], 1))
        return logit(self.like_new, self.like_old, self.sure, rows)

    def cost(self, weights: NDArray[np.float64]) -> float:
        """Tell what a new class costs the photos of others.

        Args:
            weights: (4,).

        Returns:
            Nats, the mean over these photos.
        """
        return float(np.logaddexp(0, self.logits(weights)[~self.is_new]).mean())

    def recall(self, weights: NDArray[np.float64]) -> float:
        """Tell how many photos of new classes are found.

        Args:
            weights: (4,).

        Returns:
            The share whose likeliest class is the new one; NaN if there are no such photos.
        """
        found = (self.logits(weights) > self.sure)[self.is_new]
        return float(found.mean()) if len(found) else float("nan")


def _pretend(gallery: Gallery, names: tuple[str, ...], space: Space, num_photos: int) -> Table:
    # Each learned class is the new one in turn, known by as many photos as there are of it.
    places = {name: place for place, name in enumerate(names)}
    classes = np.array([places[name] for name in gallery.names], np.intp)
    held = gallery.held_out
    is_learned = np.ones(len(classes), np.bool_)
    is_learned[held] = False
    rng = np.random.default_rng(0)
    middles = np.zeros_like(space.learned)
    for place in range(len(names)):
        own = np.flatnonzero(is_learned & (classes == place))
        chosen = rng.permutation(own)[:num_photos]
        if len(chosen):
            middles[place] = space.middle(gallery.embeddings[chosen])
    seen = space.put(gallery.embeddings[held])
    with np.errstate(divide="ignore"):
        rest = np.log1p(-np.exp(gallery.log_probs.astype(np.float64)).clip(max=1 - 1e-6))
    sure = _greatest_other(gallery.log_probs) - rest.astype(np.float32)
    played = np.flatnonzero(middles.any(axis=1))
    return Table(
        (seen @ middles.T)[:, played],
        _greatest_other(seen @ space.learned.T)[:, played],
        sure[:, played],
        (classes[held][:, None] == np.arange(len(names)))[:, played],
    )


def _greatest_other(values: Floats) -> Floats:
    # (h, l): for each class the greatest value of the others.
    order = np.argpartition(values, -2, axis=1)[:, -2:]
    two = np.take_along_axis(values, order, axis=1)
    best = order[np.arange(len(order)), two.argmax(axis=1)]
    is_best = best[:, None] == np.arange(values.shape[1])
    made: Floats = np.where(is_best, two.min(axis=1, keepdims=True), two.max(axis=1, keepdims=True))
    return made


def _regress(table: Table) -> NDArray[np.float64]:
    # Logistic regression by Newton's method; the ridge keeps it finite where all is told apart.
    figures = (table.like_new, table.like_old, table.sure)
    x = np.stack([*(each.ravel() for each in figures), np.ones(table.is_new.size)], axis=1)
    x, y = x.astype(np.float64), table.is_new.ravel()
    weights: NDArray[np.float64] = np.array([0.0, 0.0, 0.0, np.log(max(y.mean(), 1e-6))])

    def loss(weights: NDArray[np.float64]) -> float:
        odds = x @ weights
        return float((np.logaddexp(0, odds) - y * odds).sum() + _RIDGE * (weights**2).sum() / 2)

    for _ in range(_NUM_STEPS):
        prob = 1 / (1 + np.exp(-(x @ weights).clip(-50, 50)))
        slope = x.T @ (prob - y) + _RIDGE * weights
        curve = (x * (prob * (1 - prob))[:, None]).T @ x + _RIDGE * np.eye(x.shape[1])
        step: NDArray[np.float64] = np.linalg.solve(curve, slope)
        # A whole step may go too far where nearly all is told apart.
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-6:
            step = step / 2
        weights = weights - step
    return weights


def _made_cheap(weights: NDArray[np.float64], tables: Sequence[Table]) -> NDArray[np.float64]:
    # Shifted down as far as it takes to cost little, by halving.
    def shifted(by: float) -> NDArray[np.float64]:
        made: NDArray[np.float64] = weights - np.array([0.0, 0.0, 0.0, by])
        return made

    def is_cheap(by: float) -> bool:
        return all(table.cost(shifted(by)) <= _MOST_COST for table in tables)

    low, high = 0.0, 32.0
    if is_cheap(low):
        return weights
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if is_cheap(middle) else (middle, high)
    return shifted(high)


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
