"""Runs in Weights & Biases: written to the run's folder, and sent where the user says so."""

import os
from collections.abc import Sequence
from pathlib import Path

from chajong.errors import RunError
from chajong.files import read_json, write_json
from chajong.run import Run
from chajong.tracking.tracker import Point, facts, run_id, set_unless_said

# Before the import. Nothing is sent by itself: not errors, not what the machine does, no code.
set_unless_said(
    {
        "WANDB_MODE": "offline",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CONSOLE": "off",
        "WANDB_SILENT": "true",
        "WANDB_DISABLE_GIT": "true",
        "WANDB_X_DISABLE_META": "true",
        "WANDB_X_DISABLE_STATS": "true",
        "WANDB_X_DISABLE_MACHINE_INFO": "true",
        "WANDB_X_SAVE_REQUIREMENTS": "false",
        "WANDB_DISABLE_CODE": "true",
        "WANDB_PROJECT": "chajong",
    }
)
import wandb  # noqa: E402

_INIT_S = 60.0
_AT = "at"


def start(run: Run) -> "Wandb":
    """Begin to show a run, or go on with it.

    Args:
        run: The run.

    Returns:
        The tracker.
    """
    folder = run.folder.absolute() / "wandb"
    folder.mkdir(exist_ok=True)
    # Copies of artefacts that wait to be sent belong to the run too.
    set_unless_said({"WANDB_DATA_DIR": str(folder), "WANDB_CACHE_DIR": str(folder / "cache")})
    made = wandb.init(
        id=run_id(run),
        name=run.name,
        dir=str(folder.parent),
        resume="allow" if os.environ["WANDB_MODE"] == "online" else None,
        config={"recipe": run.recipe.model_dump(mode="json"), "facts": facts(run)},
        # By default a click on "stop" over there sends a signal to the process here.
        settings=wandb.Settings(init_timeout=_INIT_S, stop_fn=lambda: None),
    )
    for model in run.models:
        for kind in ("step", "epoch"):
            series = f"{run.model_folder(model).name}/{kind}"
            made.define_metric(f"{series}/*", step_metric=f"{series}/{_AT}")
    # By mode: what lies in an offline folder was not sent to the service.
    return Wandb(made, folder / f"sent-{os.environ['WANDB_MODE']}.json")


class Wandb:
    """A run in Weights & Biases.

    It cannot be asked what it has while it is offline, so that is written down beside it.

    Args:
        run: wandb's own run.
        sent: The JSON file of what it has.
    """

    def __init__(self, run: wandb.Run, sent: Path) -> None:
        self._run, self._path = run, sent
        self._sent = (
            read_json(sent, dict[str, int], RunError, "Delete it.") if sent.exists() else {}
        )

    def last(self, series: str) -> int:
        """Look up to where a series was sent.

        Args:
            series: Its name.

        Returns:
            The last `at`; 0 before any.
        """
        return self._sent.get(series, 0)

    def log(self, points: Sequence[Point]) -> None:
        """Send what was measured.

        Args:
            points: All later than what was sent.
        """
        # Written down first: a kill in between loses a moment, but never doubles one.
        self._sent |= {point.series: point.at for point in points}
        write_json(self._path, self._sent)
        for point in points:
            named = {f"{point.series}/{name}": value for name, value in point.values.items()}
            self._run.log({**named, f"{point.series}/{_AT}": point.at})

    def picture(self, path: Path) -> None:
        """Send a picture.

        Args:
            path: A PNG file, named after what it shows.
        """
        self._run.log({path.stem: wandb.Image(str(path))})

    def artefact(self, path: Path) -> None:
        """Send a file of the run.

        Args:
            path: The file.
        """
        self._run.log_artifact(str(path), name=f"{path.stem}-{self._run.id}", type=path.stem)

    def finish(self, done: bool) -> None:
        """Close the run; it can be opened again.

        Args:
            done: Whether it is trained, or was only stopped.
        """
        self._run.finish(exit_code=0 if done else 1)
