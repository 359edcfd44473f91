"""A run: the folder that holds everything about one training."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from chajong.errors import RecipeError, RunError
from chajong.file_names import DONE, LABELS, OUT_OF_FOLD, RECIPE, RUN, SCORE, SPLIT
from chajong.files import fingerprint, locked, read_json, write_json
from chajong.labels import Labels
from chajong.manifest import Manifest
from chajong.photos.walk import is_there
from chajong.recipe import Recipe, fingerprint_of
from chajong.recipe_file import make_recipe, read_recipe_file
from chajong.record import FORMAT, Record, now
from chajong.score import Score
from chajong.split import Split
from chajong.wording import command

_HISTORY = "history.json"

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One training: its folder holds the recipe, the data's and the code's fingerprints, the
    weights, what was measured and what was predicted.

    Attributes:
        folder: Where all of it lies.
        recipe: How it is trained.
        labels: Its classes.
        record: The facts known when it started.
    """

    folder: Path
    recipe: Recipe
    labels: Labels
    record: Record

    @property
    def name(self) -> str:
        """The folder's own name, also where it is given as `.`."""
        return self.folder.absolute().name

    @property
    def models(self) -> tuple[str, ...]:
        """The models to train: numbers of folds, or `all`."""
        return self.record.models

    @property
    def done(self) -> tuple[str, ...]:
        """The models that are trained."""
        return tuple(name for name in self.models if self.is_done(name))

    @property
    def fingerprint(self) -> str:
        """Names the run by recipe, data, teacher, and whether one model learns of every photo."""
        kind = ["all"] if self.models == ("all",) else []
        if self.record.teacher_fingerprint is not None:
            kind += ["teacher", self.record.teacher_fingerprint]
        return fingerprint(self.record.recipe_fingerprint, self.record.data_fingerprint, *kind)

    @property
    def predictions_path(self) -> Path:
        """The out-of-fold table of all folds."""
        return self.folder / OUT_OF_FOLD

    @property
    def score_path(self) -> Path:
        """The score of the out-of-fold table."""
        return self.folder / SCORE

    def model_folder(self, name: str) -> Path:
        """Tell where a model's files lie.

        Args:
            name: Number of a fold, or `all`.

        Returns:
            Its folder.
        """
        return self.folder / (f"fold-{name}" if name != "all" else "all")

    def held_out_path(self, name: str) -> Path:
        """Tell where lies what one model said of the photos that it did not learn.

        Args:
            name: Number of a fold.

        Returns:
            Its table of predictions.
        """
        return self.model_folder(name) / OUT_OF_FOLD

    def weights_path(self, name: str, kind: str) -> Path:
        """Tell where a model's weights lie.

        Args:
            name: Number of a fold, or `all`.
            kind: `raw`, or the average of that name (`Train.average`).

        Returns:
            The file.
        """
        return self.model_folder(name) / f"weights.{kind}.safetensors"

    def is_done(self, name: str) -> bool:
        """Tell whether a model is trained.

        Args:
            name: Number of a fold, or `all`.

        Returns:
            Whether its last file is there.
        """
        return (self.model_folder(name) / DONE).exists()

    def history(self, name: str) -> list[dict[str, Any]]:
        """Read what was measured during a training.

        Args:
            name: Number of a fold, or `all`.

        Returns:
            An entry an epoch; none before the training is over.
        """
        path = self.model_folder(name) / _HISTORY
        return _read(path, list[dict[str, Any]]) if path.exists() else []

    def manifest(self) -> Manifest:
        """Read the photos that the run is trained on.

        Returns:
            The manifest as it was at the start.
        """
        return Manifest.load(self.folder)

    def split(self) -> Split:
        """Read the folds.

        Returns:
            The split.
        """
        return Split.load(self.folder / SPLIT)

    @property
    def caution(self) -> tuple[str, ...]:
        """What keeps the out-of-fold score from being all of the truth."""
        said = []
        if self.recipe.train.chooses_by_score:
            said.append(
                "the photos that this is the score of said when to stop, which flatters "
                "(train.keep=best or train.patience)"
            )
        if self.recipe.distil is not None and not self.recipe.distil.online:
            said.append(
                "the teacher had learned labels of the photos that this is the score of, which "
                "flatters a little (distil.online=false)"
            )
        return tuple(f"{self.name}: {each}" for each in said)

    def score(self) -> Score | None:
        """Read the score.

        Returns:
            The out-of-fold score; none before all folds are trained.
        """
        return Score.of(self.folder)

    def facts(self, name: str) -> dict[str, Any]:
        """Read what was kept about a training that is over.

        Args:
            name: Number of a fold, or `all`.

        Returns:
            Such as its seconds, epochs and precision.
        """
        return _read(self.model_folder(name) / DONE, dict[str, Any])

    def seconds(self) -> float:
        """Add up the training time of the models that are trained.

        Returns:
            Seconds.
        """
        done = (_read(self.model_folder(name) / DONE, _Done) for name in self.done)
        return sum(facts.seconds for facts in done)

    def status(self) -> str:
        """Say how far the training is.

        Returns:
            `done`, or how many models are.
        """
        done, models = len(self.done), len(self.models)
        return "done" if done == models else f"{done} of {models} models"

    def summary(self) -> list[str]:
        """Say what has become of the run, for a terminal.

        Returns:
            Lines.
        """
        lines = [f"run        {self.folder} ({self.status()})"]
        score = self.score()
        if score is not None:
            lines += score.lines()
            lines.append(f"table      {self.predictions_path}")
        lines.append(f"next       {command('predict', self.folder, 'PHOTOS')}")
        return lines

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training the same run.

        Yields:
            Nothing.

        Raises:
            RunError: If one is training it now.
        """
        with locked(self.folder / ".lock", wait=False) as held:
            if not held:
                raise RunError(
                    f"Another process is training {self.folder} now. Wait for it, or give this "
                    "training a folder of its own with --out."
                )
            yield

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Tell whether a folder is a run's.

        Args:
            folder: Any path.

        Returns:
            Whether a run was started there.
        """
        return is_there(folder / RUN)

    @classmethod
    def load(cls, folder: Path) -> "Run":
        """Open a run's folder.

        Args:
            folder: The folder.

        Returns:
            The run.

        Raises:
            RunError: If it is no run, damaged, changed, or made by a newer version.
            DataError: If its labels are damaged.
        """  # noqa: DOC503 DataError raised by `Labels.load`
        if not cls.is_in(folder):
            raise RunError(f"{folder} is no run: it has no {RUN}. List the runs with: chajong runs")
        made = _read(folder / RUN, _Format).format
        if made > FORMAT:
            raise RunError(
                f"{folder} was made by a newer version (format {made}; this one reads up to "
                f"{FORMAT}). Update chajong."
            )
        record = _read(folder / RUN, Record)
        try:
            values = read_recipe_file(folder / RECIPE)
            recipe = make_recipe(values)
            # Of what the file says: defaults that a later version adds are no change.
            found = fingerprint_of(values)
        except (RecipeError, TypeError) as error:
            raise RunError(
                f"The run {folder} is damaged: {error}\nRestore {RECIPE}, or train anew."
            ) from error
        if found != record.recipe_fingerprint:
            raise RunError(
                f"{folder / RECIPE} was changed after the run started. Restore it, or train "
                "with the changed recipe in another folder (--recipe FILE --out DIR)."
            )
        return cls(folder, recipe, Labels.load(folder / LABELS), record)


def finish_model(folder: Path, facts: dict[str, Any], history: Sequence[dict[str, Any]]) -> None:
    """Mark a model as trained.

    Args:
        folder: The model's folder, its other files written.
        facts: What to keep about the training.
        history: An entry an epoch.
    """
    write_json(folder / _HISTORY, list(history))
    write_json(folder / DONE, {"finished": now(), **facts})


class _Format(BaseModel):
    format: int


def refuse_run(folder: Path, what: str) -> None:
    """Refuse to write something else into a run's folder, where files have the same names.

    Args:
        folder: Where to.
        what: What would be written.

    Raises:
        RunError: If a run lies there.
    """
    if Run.is_in(folder):
        raise RunError(
            f"{folder} holds a run, which {what} would overwrite. Choose another with --out."
        )


class _Done(BaseModel):
    seconds: float


def _read(path: Path, kind: type[T]) -> T:
    return read_json(path, kind, RunError, "Restore it, or train anew in another folder.")
