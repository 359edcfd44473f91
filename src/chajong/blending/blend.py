"""A blend: which runs, seen through which views, weighted how, answer together.

It is fitted on out-of-fold predictions only (`chajong.blending`) and kept in a folder with the
nested out-of-fold table that its score is computed from.

Shapes: n photos, k voices, c classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from chajong.errors import RunError
from chajong.file_names import BLEND
from chajong.files import fingerprint, read_json, write_json
from chajong.labels import Labels
from chajong.photos.walk import is_there
from chajong.pooling import Fitted, Floats, Pooling, Vector, mean_of_networks, merged, spread

_FORMAT = 1


@dataclass(frozen=True)
class Member:
    """A run in a blend.

    Attributes:
        run: The run's folder.
        fingerprint: The run's.
        views: The views that are looked at.
        weights: Of each view.
        answers: Hash of the run's out-of-fold table; empty where it is not known.
    """

    run: str
    fingerprint: str
    views: tuple[str, ...]
    weights: tuple[float, ...]
    answers: str = ""


@dataclass(frozen=True)
class Candidate:
    """A way to blend that was compared with others; figures are nested out-of-fold.

    Attributes:
        method: Its name.
        about: What it does.
        log_loss: Natural logarithms.
        gap: How much worse than the best.
        gap_error: Standard error of that, photos paired.
        num_looks: How many looks of a model at a photo it takes, of one fold.
        chosen: Whether it is the one.
    """

    method: str
    about: str
    log_loss: float
    gap: float
    gap_error: float
    num_looks: int
    chosen: bool


@dataclass(frozen=True)
class Averaging:
    """How the geometric mean of all models differs from one, by photos without labels.

    Attributes:
        num_models: Models of a member, such as folds.
        num_photos: Photos without labels.
        temperature: Of the mean.
        log_loss: What the mean costs, foretold by fits that did not know the photo.
        error: Standard error of that, by which photos there are, held out and without labels.
    """

    num_models: int
    num_photos: int
    temperature: float
    log_loss: float
    error: float

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            RunError: If a number is not finite, or the temperature or the log loss is not above 0.
        """
        figures = (self.temperature, self.log_loss, self.error)
        if not np.isfinite(figures).all() or min(figures[:2]) <= 0:
            raise RunError(
                f"The mean of models cannot cost what is on record: {self}. Blend again."
            )


@dataclass(frozen=True)
class Making:
    """What a blend was asked to be made of.

    Attributes:
        runs: Their folders; not all need be members.
        budget: Most views of a run.
        photos: Where the photos without labels lay, if any were given.
        created: When, ISO 8601.
    """

    runs: tuple[str, ...]
    budget: int
    photos: str | None
    created: str


@dataclass(frozen=True)
class Blend:
    """Members, their weights and a calibration.

    Attributes:
        names: The classes.
        equal: Pairs of classes that count as one.
        members: The runs.
        pooling: Geometric (`log`) or arithmetic (`linear`) mean.
        temperature: Divides the pooled logits; fitted for one model of each member.
        vector: Scale and shift of each class, equal classes merged; none where it did not pay.
        candidates: What was compared.
        averaging: A temperature for the mean of all models, which is then used; none where no
            photos without labels were given, or these told nothing.
        made: How it was made; none where that is not on record.
        merges_views: Whether the views of equal classes are joined as of one class; not in what a
            run is exported as, which takes the mean of its views class by class.
        format: Version of the file.
    """

    names: tuple[str, ...]
    equal: tuple[tuple[str, str], ...]
    members: tuple[Member, ...]
    pooling: Pooling
    temperature: float
    vector: Vector | None
    candidates: tuple[Candidate, ...]
    averaging: Averaging | None = None
    made: Making | None = None
    merges_views: bool = True
    format: int = _FORMAT

    def __post_init__(self) -> None:
        """Refuse a blend that cannot answer.

        Raises:
            RunError: If it was made by a newer version, has no members, or weights are negative,
                none above 0, or do not fit the views.
        """
        if self.format > _FORMAT:
            raise RunError(
                f"The blend has format {self.format}, but this version knows up to {_FORMAT}. "
                "Update chajong, or blend again."
            )
        good = all(
            len(member.views) == len(member.weights) > 0
            and np.isfinite(member.weights).all()
            and min(member.weights) >= 0 < sum(member.weights)
            for member in self.members
        )
        if not self.members or not good or not self.temperature > 0:
            raise RunError(
                "A blend needs members, a weight of 0 or more for each of their views and a "
                f"temperature above 0. Got {self.members} and {self.temperature}. Blend again."
            )

    @cached_property
    def labels(self) -> Labels:
        """Name the classes, checked.

        Returns:
            They, and those that count as one.
        """
        return Labels(self.names, self.equal)

    @property
    def fingerprint(self) -> str:
        """Names the blend by all that decides its answers."""
        return fingerprint(
            "blend",
            [[m.fingerprint, m.views, m.weights] for m in self.members],
            self.pooling,
            self.fitted.temperature,
            asdict(self.vector) if self.vector is not None else None,
        )

    @cached_property
    def fitted(self) -> Fitted:
        """Say how the voices of all members are joined.

        Returns:
            What joins them.
        """
        weights = np.concatenate([member.weights for member in self.members])
        mean = self.averaging
        temperature = self.temperature if mean is None else mean.temperature
        return Fitted(weights, self.pooling, temperature, self.vector)

    def answer(self, said: Sequence[Floats]) -> Floats:
        """Join what the members say.

        Args:
            said: For each member (n, v, c), its views as it names them.

        Returns:
            (n, c) log-probabilities, normalised.
        """
        voices = np.concatenate(said, axis=1)
        if not self.merges_views:
            return self.fitted(voices)
        canonical = self.labels.canonical
        return spread(self.fitted(merged(voices, canonical)), voices, canonical)

    def answer_of_networks(self, said: Sequence[Floats]) -> Floats:
        """Join what the networks of the members say.

        Args:
            said: For each member (n, k, v, c), its k networks through its views.

        Returns:
            (n, c) log-probabilities, normalised.
        """
        canonical = self.labels.canonical
        return self.answer([mean_of_networks(each, self.pooling, canonical) for each in said])

    def lines(self) -> Iterator[str]:
        """Explain the choice.

        Yields:
            A table of the candidates, then the members with their weights.
        """
        yield f"{'':2}{'method':<14} {'log loss':>8} {'worse by':>9} {'looks':>6}  what it is"
        for one in self.candidates:
            gap = f"{one.gap:.4f}±{one.gap_error:.4f}" if one.gap else "best"
            mark = "*" if one.chosen else ""
            yield (
                f"{mark:2}{one.method:<14} {one.log_loss:>8.4f} {gap:>13} {one.num_looks:>4}"
                f"  {one.about}"
            )
        yield "* the fewest looks, no worse than the best by more than one standard error"
        for member in self.members:
            shares = zip(member.views, member.weights, strict=True)
            views = ", ".join(f"{view} {weight:.3f}" for view, weight in shares)
            yield f"{member.run}: {views}"
        kind = "geometric" if self.pooling == "log" else "arithmetic"
        vector = ", a scale and a shift of each class" if self.vector is not None else ""
        yield f"{kind} mean, temperature {self.temperature:.3f}{vector}"
        if (mean := self.averaging) is not None:
            yield (
                f"the mean of {mean.num_models} models, temperature {mean.temperature:.3f}: log "
                f"loss {mean.log_loss:.4f}±{mean.error:.4f}, foretold by {mean.num_photos:,} photos"
                " without labels"
            )

    def save(self, folder: Path) -> None:
        """Write the blend.

        Args:
            folder: Its folder.
        """
        write_json(folder / BLEND, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Blend":
        """Read a blend that `save` wrote.

        Args:
            folder: Its folder.

        Returns:
            The blend.

        Raises:
            RunError: If there is none, or it is damaged.
        """
        path = folder / BLEND
        if not path.is_file():
            raise RunError(f"There is no blend in {folder}. Make one with: chajong blend RUN...")
        return read_json(path, cls, RunError, "Blend again.")

    @staticmethod
    def forget(folder: Path) -> None:
        """Make a folder that of no blend, before its other files change.

        Args:
            folder: Any path.
        """
        (folder / BLEND).unlink(missing_ok=True)

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Tell whether a folder is a blend's.

        Args:
            folder: Any path.

        Returns:
            Whether there is one.
        """
        return is_there(folder / BLEND)
