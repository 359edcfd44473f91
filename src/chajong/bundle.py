"""A bundle: the folder that answers on a machine without torch.

    bundle.json         what is asked how: members, views, weights, calibration, and what was proven
    labels.json         the classes
    catalogue.csv       which car each class is
    members/            a graph (ONNX) for each run and number format, all its networks in it
    risks.parquet       how sure and how right held-out answers were; not where there are none
    golden/             photos drawn by the project, and golden.json with what must come out
    gallery/            photos that were learned as a network saw them (gallery.py); not in format 1
    added/              embeddings of the photos of each class that was added later
    card.json, CARD.md  what is known of its answers
    SHA256SUMS          checksums of all files, as `sha256sum --check` takes them

Nothing in it is unpickled or run as a program. A later kind of content is a file of its own that an
optional field of bundle.json names; older versions refuse a bundle by its `format`.

Shapes: n photos, k networks, v views, c classes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from chajong.bundle_facts import Facts, Golden, Proof
from chajong.catalogue import Catalogue, known_catalogue
from chajong.checksums import COPY_AGAIN, copy_checked, listed_files, touched, write_sums
from chajong.choices import Precision, Runtime
from chajong.errors import BundleError, DataError
from chajong.file_names import BUNDLE, LABELS, SUMS
from chajong.files import (
    fingerprint,
    read_json,
    write_bytes,
    write_json,
    write_text,
)
from chajong.gallery import Gallery
from chajong.graph import Graph
from chajong.labels import Labels, known_equal
from chajong.photos.preprocess import Squares
from chajong.risk import Risks
from chajong.wording import first_line, listed

T = TypeVar("T")

FORMAT = 2
"""The version of bundles that this version of chajong makes."""

_CATALOGUE = "catalogue.csv"
_GOLDEN, _SQUARES, _CARD = "golden/golden.json", "golden/squares.npz", "card.json"
RISKS = "risks.parquet"
"""What holds `Bundle.risks`; `Facts.risks` names it."""


@dataclass(frozen=True)
class Bundle:
    """What answers for a run or a blend without torch.

    Attributes:
        folder: Where it lies.
        facts: How it is asked.
        learned: The classes that its networks learned.
        cars: The car of each of them.
        golden: Photos with known answers, of these classes.
        fingerprint: Names it by the content of all its files.
        risks: How sure and how right held-out answers were at each level; none where all photos
            were learned.
    """

    folder: Path
    facts: Facts
    learned: Labels
    cars: Catalogue
    golden: Golden
    fingerprint: str
    risks: Risks | None = None

    def __post_init__(self) -> None:
        """Refuse a bundle whose parts do not belong together.

        Raises:
            BundleError: If members and graphs or classes do not fit, or nothing was proven.
        """
        blend, graphs = self.facts.blend, self.facts.graphs
        cars = tuple(car.name for car in self.cars.cars)
        if blend.names != self.learned.names or cars != self.learned.names:
            raise BundleError(f"{self.folder}: its parts know different classes. {COPY_AGAIN}")
        if len(graphs) != len(blend.members) or not self.facts.proofs:
            raise BundleError(
                f"{self.folder} has {len(blend.members)} members, {len(graphs)} graphs and "
                f"{len(self.facts.proofs)} proofs: each member needs a graph, and one proof is "
                f"needed. {COPY_AGAIN}"
            )

    @cached_property
    def labels(self) -> Labels:
        """Give all classes, learned and added.

        Returns:
            In code-point order, as answers have them.
        """
        if not self.facts.added:
            return self.learned
        added = [each.name for each in self.facts.added]
        names = tuple(sorted((*self.learned.names, *added)))
        # Of pairs that are known to be equal, those that networks learned as two stay two.
        known = tuple(pair for pair in known_equal(names) if {*pair} & {*added})
        return Labels(names, (*self.learned.equal, *known))

    @cached_property
    def catalogue(self) -> Catalogue:
        """Say which car each class is.

        Returns:
            A car for each of `labels`; what an added one is, the known catalogue may say.
        """
        return self.cars.narrowed(self.labels.names, known_catalogue())

    @cached_property
    def gallery(self) -> Gallery | None:
        """Open the photos that were learned, as a network saw them.

        Returns:
            The gallery; none in bundles of format 1.
        """
        return Gallery.load(self.folder)

    @property
    def tells_strangeness(self) -> bool:
        """Whether it can tell how unlike all that was learned a photo is."""
        return self.gallery is not None and len(self.gallery.usual) > 0

    def proof(self, runtime: Runtime, precision: Precision) -> Proof:
        """Look up what is known of a way to compute.

        Args:
            runtime: What computes.
            precision: In which number format.

        Returns:
            Its proof.

        Raises:
            BundleError: If it was not proven, so that it may not be used.
        """
        for proof in self.facts.proofs:
            if (proof.runtime, proof.precision) == (runtime, precision):
                return proof
        known = [f"{proof.runtime} {proof.precision}" for proof in self.facts.proofs]
        raise BundleError(
            f"{self.folder} was not proven to answer rightly with {runtime} in {precision}; it was "
            f"with: {', '.join(known)}. Choose one of these, or export again where {runtime} is "
            f"installed and computes {precision}; what failed then is in its {_CARD}."
        )

    def graph_file(self, graph: Graph, precision: Precision) -> Path:
        """Tell which file computes in a number format.

        Args:
            graph: One of `facts.graphs`.
            precision: The number format; bf16 is made from fp32 by the runtime.

        Returns:
            The file.
        """
        return self.folder / graph.files["int8" if precision == "int8" else "fp32"]

    def save_golden_squares(self, squares: Sequence[Squares]) -> None:
        """Keep golden photos as members see them.

        Args:
            squares: Of each photo one for each of `facts.preprocesses`.
        """
        with BytesIO() as buffer:
            np.savez(buffer, *map(np.stack, zip(*squares, strict=True)))
            write_bytes(self.folder / _SQUARES, buffer.getvalue())

    def golden_squares(self) -> tuple[Squares, ...]:
        """Read golden photos as members saw them where the bundle was made.

        Returns:
            What `save_golden_squares` was given; nothing in bundles of older versions.

        Raises:
            BundleError: If they are not squares of these photos.
        """
        path = self.folder / _SQUARES
        if not path.is_file():
            return ()
        try:
            with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as found:
                kept = [found[name] for name in found.files]
        except Exception as error:  # an archive can be broken in many ways
            raise BundleError(
                f"{path} cannot be read: {first_line(error)}. {COPY_AGAIN}"
            ) from error
        num, sides = len(self.golden.photos), [way.size_px for way in self.facts.preprocesses]
        is_so = [(each.dtype.name, each.shape) for each in kept]
        wanted = [("uint8", (num, side, side, 3)) for side in sides]
        if is_so != wanted:
            raise BundleError(f"{path} must hold {wanted}, but it holds {is_so}. {COPY_AGAIN}")
        return tuple(zip(*kept, strict=True))

    def card(self) -> dict[str, Any]:
        """Read the model card.

        Returns:
            What is known of the bundle's answers, as JSON holds it.
        """
        return _read(self.folder / _CARD, dict[str, Any])

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Open a bundle, once every byte of it was checked.

        Args:
            folder: Its folder.

        Returns:
            The bundle.

        Raises:
            BundleError: If it is no bundle, was made by a newer version, or if a file was changed,
                cut off, added or is missing.
        """
        if not cls.is_in(folder):
            raise BundleError(
                f"There is no bundle in {folder}. Make one with: chajong export RUN|BLEND"
            )
        made = _read(folder / BUNDLE, _Format).format
        if made > FORMAT:
            raise BundleError(
                f"{folder} was made by a newer version (format {made}; this one reads up to "
                f"{FORMAT}). Update chajong."
            )
        for problem in touched(folder):
            raise BundleError(f"{folder} is not as it was made: {problem}. {COPY_AGAIN}")
        try:
            facts, golden = _read(folder / BUNDLE, Facts), _read(folder / _GOLDEN, Golden)
            _check_files(folder, facts, golden)
            return cls(
                folder,
                facts,
                Labels.load(folder / LABELS),
                Catalogue.read(folder / _CATALOGUE),
                golden,
                fingerprint("bundle", (folder / SUMS).read_text(encoding="utf-8")),
                None if facts.risks is None else Risks.load(folder / facts.risks),
            )
        except DataError as error:
            raise BundleError(f"{folder} is damaged: {error} {COPY_AGAIN}") from error

    def check_unchanged(self) -> None:
        """Refuse a folder in which another bundle lies by now.

        Raises:
            BundleError: If there is another one, or none.
        """  # noqa: DOC502 raised by what it calls
        self._checksums()

    def copy_to(self, folder: Path) -> None:
        """Copy its files as they were when it was opened.

        Args:
            folder: Where to.

        Raises:
            BundleError: If a file was changed since, or another bundle took its place.
        """
        if copy_checked(self._checksums(), self.folder, folder) is not None:
            raise BundleError(
                f"{self.folder} was changed while it was copied. Run the same command again."
            )

    def _checksums(self) -> str:
        try:
            text = (self.folder / SUMS).read_text(encoding="utf-8")
        except OSError:
            text = ""
        if fingerprint("bundle", text) != self.fingerprint:
            raise BundleError(
                f"Another bundle took the place of {self.folder} since it was opened. Run the same "
                "command again."
            )
        return text

    def save(self, card: dict[str, Any], text: str) -> None:
        """Write what is not in its folder yet, and the checksums of everything last.

        Args:
            card: The model card.
            text: The same for people, as Markdown.
        """
        write_json(self.folder / BUNDLE, asdict(self.facts))
        if self.risks is not None and self.facts.risks is not None:
            self.risks.save(self.folder / self.facts.risks)
        self.learned.save(self.folder / LABELS)
        write_text(self.folder / _CATALOGUE, self.cars.to_csv())
        write_json(self.folder / _GOLDEN, asdict(self.golden))
        write_json(self.folder / _CARD, card)
        write_text(self.folder / "CARD.md", text)
        write_sums(self.folder)

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Tell whether a folder is a bundle's.

        Args:
            folder: Any path.

        Returns:
            Whether there is one, whole or not.
        """
        return (folder / BUNDLE).is_file()


# What a bundle says is its own may be deleted with a class: nothing of anybody else's.
def _check_files(folder: Path, facts: Facts, golden: Golden) -> None:
    named = [name for graph in facts.graphs for name in graph.files.values()]
    named += [f"golden/{name}" for name in golden.photos]
    named += [each.file for each in facts.added]
    named += [facts.risks] if facts.risks is not None else []
    if strange := sorted(set(named) - listed_files(folder)):
        raise BundleError(
            f"{folder} is not as it was made: it names {listed(strange)}, which its {SUMS} does "
            f"not list. {COPY_AGAIN}"
        )


@dataclass(frozen=True)
class _Format:
    format: int


def _read(path: Path, kind: type[T]) -> T:
    return read_json(path, kind, BundleError, COPY_AGAIN)
