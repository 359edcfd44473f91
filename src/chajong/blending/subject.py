"""A run or a blend, and what is known of it: what is reported and what is exported."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from chajong.blending.blend import Blend, Member
from chajong.blending.members import members_of
from chajong.catalogue import Catalogue, known_catalogue
from chajong.file_names import OUT_OF_FOLD
from chajong.labels import Labels
from chajong.manifest import Manifest
from chajong.predictions import Predictions
from chajong.run import Run
from chajong.score import Score


@dataclass(frozen=True)
class Subject:
    """A run or a blend.

    Attributes:
        folder: Of the run or the blend.
        runs: The run, or the members.
        blend: None for a run.
        own_catalogue: A CSV that says which car each class is; none for the known one.
    """

    folder: Path
    runs: tuple[Run, ...]
    blend: Blend | None = None
    own_catalogue: Path | None = None

    @classmethod
    def open(cls, folder: Path, own_catalogue: Path | None = None) -> "Subject":
        """Open a run's or a blend's folder.

        Args:
            folder: The folder.
            own_catalogue: A CSV that says which car each class is; none for the known one.

        Returns:
            The subject.

        Raises:
            RunError: If there is neither in it, it is damaged, or a member was trained again.
        """  # noqa: DOC502 raised by what it calls
        if not Blend.is_in(folder):
            return cls(folder, (Run.load(folder),), None, own_catalogue)
        blend = Blend.load(folder)
        return cls(folder, members_of(blend), blend, own_catalogue)

    @property
    def name(self) -> str:
        """The folder's own name, also where it is given as `.`."""
        return self.folder.absolute().name

    @property
    def labels(self) -> Labels:
        """The classes."""
        return self.runs[0].labels if self.blend is None else self.blend.labels

    @cached_property
    def catalogue(self) -> Catalogue:
        """Read which car each class is.

        Returns:
            The catalogue, of these classes.
        """
        own = self.own_catalogue
        known = known_catalogue() if own is None else Catalogue.read(own)
        return known.narrowed(self.labels.names)

    @property
    def started(self) -> str | None:
        """When it was started, ISO 8601; none for a blend that does not know."""
        if self.blend is None:
            return self.runs[0].record.created
        return None if self.blend.made is None else self.blend.made.created

    @cached_property
    def table(self) -> Predictions | None:
        """Read held-out predictions.

        Returns:
            The table; none before all folds are trained, and scored.
        """
        path = self.folder / OUT_OF_FOLD
        is_whole = self.score is not None and path.is_file()
        return Predictions.load(path) if is_whole else None

    @cached_property
    def score(self) -> Score | None:
        """Read the score of the table.

        Returns:
            The score; none before there is one.
        """
        return Score.of(self.folder)

    @cached_property
    def manifest(self) -> Manifest:
        """Read which photos there are.

        Returns:
            The manifest of the first run.
        """
        return self.runs[0].manifest()

    def joined(self) -> Blend:
        """Tell how the members' answers become one, without a folder of this machine.

        Returns:
            The blend; of a run, a blend of one: the mean of the views, as
            `Predictions.probabilities` takes it.
        """
        if self.blend is not None:
            members = [replace(each, run=Path(each.run).name) for each in self.blend.members]
            return replace(self.blend, members=tuple(members), candidates=(), made=None)
        run = self.runs[0]
        views = run.recipe.infer.views
        member = Member(self.name, run.fingerprint, views, (1 / len(views),) * len(views))
        labels = run.labels
        return Blend(
            labels.names, labels.equal, (member,), "log", 1.0, None, (), merges_views=False
        )
