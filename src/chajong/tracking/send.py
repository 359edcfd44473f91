"""What a service is told of a run, at once or bit by bit."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chajong.choices import Service
from chajong.errors import ChajongError, TrackerError
from chajong.files import locked
from chajong.predictions import Predictions
from chajong.run import Run
from chajong.score import FIGURES
from chajong.steps import read_steps
from chajong.tracking.tracker import OOF, Point, Tracker, open_tracker
from chajong.wording import first_line


class Teller:
    """Tells a service what it does not have yet.

    Args:
        tracker: The service.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._last: dict[str, int] = {}

    def tell(self, points: Iterable[Point]) -> None:
        """Send those points that the service does not have.

        Args:
            points: Any; those of a series in order.
        """
        new = [point for point in points if self._is_new(point)]
        if new:
            self._tracker.log(new)

    def finish(self, run: Run) -> None:
        """Send what a run's folder holds and the service does not, then close the run there.

        Args:
            run: The run as its folder is now.
        """
        for model in run.models:
            folder = run.model_folder(model)
            self.tell(step_points(folder.name, read_steps(folder)))
            self.tell(epoch_points(folder.name, run.history(model)))
        score = run.score()
        # The score comes last: with it, all of it is there.
        if score is not None and self._is_new(Point(OOF, 1, {})):
            self._pictures(run)
            for path in (run.predictions_path, run.score_path):
                self._tracker.artefact(path)
            values = {name: getattr(score, name).value for name in FIGURES}
            self._tracker.log([Point(OOF, 1, values)])
        self._tracker.finish(run.status() == "done")

    def _is_new(self, point: Point) -> bool:
        if point.series not in self._last:
            self._last[point.series] = self._tracker.last(point.series)
        new = point.at > self._last[point.series]
        if new:
            self._last[point.series] = point.at
        return new

    def _pictures(self, run: Run) -> None:
        # Imported late: drawing takes a second to load, and only a trained run needs it.
        from chajong.reporting.figures import confusions, png, reliability

        table = Predictions.load(run.predictions_path)
        figures = {
            "confusions": confusions(table, run.labels),
            "reliability": reliability(table, run.labels, run.manifest().groups()),
        }
        with TemporaryDirectory() as folder:
            for name, figure in figures.items():
                path = Path(folder, f"{name}.png")
                path.write_bytes(png(figure))
                self._tracker.picture(path)


def sending(run: Run, service: Service, *, wait: bool) -> AbstractContextManager[bool]:
    """Keep other processes from telling the same service of the same run.

    Args:
        run: The run.
        service: The service.
        wait: Whether to wait for a process that does so now.

    Returns:
        Says on entering whether there is none, or none any more.
    """
    return locked(run.folder / f".{service}.lock", wait=wait)


def epoch_points(model: str, history: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Turn what was measured in a training into points.

    Args:
        model: Name of the model's folder.
        history: An entry an epoch.

    Returns:
        A point an epoch.
    """
    return [
        Point(f"{model}/epoch", entry["epoch"], {k: v for k, v in entry.items() if k != "epoch"})
        for entry in history
    ]


def step_points(model: str, steps: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Turn what steps of a training were like into points.

    Args:
        model: Name of the model's folder.
        steps: Entries as `read_steps` gives them.

    Returns:
        A point an entry.
    """
    series, own = f"{model}/step", ("step", "time_s")
    return [
        Point(
            series, entry["step"], {k: v for k, v in entry.items() if k not in own}, entry["time_s"]
        )
        for entry in steps
    ]


def push(folder: Path, service: Service) -> str:
    """Send a run that was trained before; what the service has of it is not sent again.

    Args:
        folder: The run's folder.
        service: Where to.

    Returns:
        What was done.

    Raises:
        TrackerError: If the service is not installed, or refuses, or cannot be reached.
        RunError: If the folder is no run.
    """  # noqa: DOC503 RunError raised by `Run.load`
    run = Run.load(folder)
    try:
        with sending(run, service, wait=False) as held:
            if not held:
                raise TrackerError(
                    f"Another process is telling {service} of {folder} now. Wait for it, then "
                    "send the rest with the same command."
                )
            Teller(open_tracker(service, run)).finish(run)
    except ChajongError:
        raise
    except Exception as error:  # of libraries, in dozens of ways
        raise TrackerError(
            f"{folder} could not be sent to {service}: {first_line(error)} "
            f"({type(error).__name__}). What was sent stays; the same command sends the rest."
        ) from error
    return f"{folder} is in {service} now ({run.status()})"
