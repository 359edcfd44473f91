"""How far a training is that goes on now, read from the files that it leaves."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from chajong.errors import RunError
from chajong.files import read_json, write_json
from chajong.run import Run

FILE = "live.json"
"""In a model's folder while it is trained."""

_SILENT_S = 120.0

Status = Literal["waiting", "training", "silent", "stopped", "done"]


@dataclass(frozen=True)
class Live:
    """Where the training of a model stands.

    Attributes:
        epochs: How many there will be.
        done: Share of all steps that are done, 0 to 1.
        loss: Of the last batch.
        photos_per_s: Of this process.
        seconds_left: Until the last step, at this rate.
        time_s: When this was written, in seconds since 1970.
        history: An entry an epoch that is done.
        stopped: Whether it ended before the last step, by Ctrl-C or by an error.
    """

    epochs: int
    done: float
    loss: float
    photos_per_s: float
    seconds_left: float
    time_s: float = field(default_factory=time.time)
    history: tuple[dict[str, Any], ...] = ()
    stopped: bool = False

    def save(self, folder: Path) -> None:
        """Write it.

        Args:
            folder: The model's.
        """
        write_json(folder / FILE, vars(self))


@dataclass(frozen=True)
class ModelState:
    """A model of a run as its files say.

    Attributes:
        name: Number of the fold, or `all`.
        status: `waiting` before it begins; `silent` if nothing has been heard for two minutes;
            `stopped` if it says that it ended early.
        live: Where it stands; none before it begins and once it is done.
        history: An entry an epoch that is done.
    """

    name: str
    status: Status
    live: Live | None
    history: tuple[dict[str, Any], ...]


def model_states(run: Run) -> tuple[ModelState, ...]:
    """Read how far each model of a run is.

    Args:
        run: The run.

    Returns:
        The models in order.
    """
    return tuple(_state(run, name) for name in run.models)


def _state(run: Run, name: str) -> ModelState:
    if run.is_done(name):
        return ModelState(name, "done", None, tuple(run.history(name)))
    path = run.model_folder(name) / FILE
    if not path.is_file():
        return ModelState(name, "waiting", None, ())
    try:
        live = read_json(path, Live, RunError, "Delete it; the training writes it anew.")
    except RunError:
        if path.is_file():
            raise
        return _state(run, name)  # it was done between the two looks
    status: Status = "silent" if time.time() - live.time_s > _SILENT_S else "training"
    return ModelState(name, "stopped" if live.stopped else status, live, live.history)
