"""What a tracker is, and which there are."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, get_args

from chajong.choices import Service
from chajong.errors import TrackerError
from chajong.files import fingerprint
from chajong.recipe_file import leaves
from chajong.run import Run
from chajong.wording import did_you_mean, installing

SERVICES: tuple[Service, ...] = get_args(Service)

OOF = "oof"
"""The series of the final score; the last thing that is sent of a run."""


@dataclass(frozen=True)
class Point:
    """What was measured at one moment.

    Attributes:
        series: What it belongs to: `fold-0/step`, `fold-0/epoch` or `oof`.
        at: Where on the axis of the series, from 1: a step, or an epoch.
        values: The figures by name.
        time_s: When, in seconds since 1970.
    """

    series: str
    at: int
    values: Mapping[str, float]
    time_s: float = field(default_factory=time.time)


class Tracker(Protocol):
    """One service that shows a run; a run is one there too, however often training is resumed.

    Any error may be raised by any method: whoever calls them deals with it.
    """

    def last(self, series: str) -> int:
        """Tell up to where the service has a series.

        Args:
            series: Its name.

        Returns:
            The last `at`; 0 before any.
        """

    def log(self, points: Sequence[Point]) -> None:
        """Send what was measured.

        Args:
            points: All later than what the service has.
        """

    def picture(self, path: Path) -> None:
        """Send a picture.

        Args:
            path: A PNG file, named after what it shows.
        """

    def artefact(self, path: Path) -> None:
        """Send a file of the run.

        Args:
            path: The file.
        """

    def finish(self, done: bool) -> None:
        """Close the run; it can be opened again.

        Args:
            done: Whether it is trained, or was only stopped.
        """


def open_tracker(service: Service, run: Run) -> Tracker:
    """Begin to show a run, or go on with it.

    Args:
        service: Where.
        run: The run; its recipe, environment and facts are sent.

    Returns:
        The tracker.

    Raises:
        TrackerError: If what the service needs is not installed.
    """  # noqa: DOC502 raised by `check_services`
    check_services((service,))
    # Imported late: each needs a package that may be missing.
    made: Tracker = import_module(f"chajong.tracking.to_{service}").start(run)
    return made


def check_services(names: Sequence[str]) -> tuple[Service, ...]:
    """Refuse services that there are not, or whose packages are missing.

    Args:
        names: Any.

    Returns:
        The services, each once.

    Raises:
        TrackerError: If one is not known or cannot be imported.
    """
    for name in names:
        if name not in SERVICES:
            raise TrackerError(
                f"Runs can be tracked by {', '.join(SERVICES)}. Got {name!r}"
                f"{did_you_mean(name, SERVICES)}."
            )
    found = tuple(name for name in SERVICES if name in names)
    if missing := [name for name in found if find_spec(name) is None]:
        raise TrackerError(
            f"Runs cannot be tracked by {', '.join(missing)} yet: not installed. Run: "
            f"{installing(','.join(missing))}"
        )
    return found


def set_unless_said(values: Mapping[str, str]) -> None:
    """Set environment variables that the user has not set.

    Args:
        values: The values by name.
    """
    for name, value in values.items():
        os.environ.setdefault(name, value)


def run_id(run: Run) -> str:
    """Name a run for a service: the same however often it is resumed or sent again.

    Args:
        run: The run.

    Returns:
        16 hexadecimal digits.
    """
    return fingerprint(run.fingerprint, run.record.created)


def facts(run: Run) -> dict[str, str]:
    """Tell what is known of a run when it starts.

    Args:
        run: The run.

    Returns:
        Texts by dotted name, the environment's under `environment.`.
    """
    known = leaves(run.record.model_dump(mode="json"))
    return {name: str(value) for name, value in known if value is not None}


def parameters(run: Run) -> dict[str, str]:
    """Tell how a run is trained.

    Args:
        run: The run.

    Returns:
        The values of its recipe by dotted path.
    """
    values = leaves(run.recipe.model_dump(mode="json"))
    return {name: str(value) for name, value in values}
