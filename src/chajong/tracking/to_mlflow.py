"""Runs in MLflow: on a server, or in an SQLite file beside the runs."""

import os
from collections.abc import Sequence
from pathlib import Path

from chajong.file_names import RECIPE, RUN
from chajong.run import Run
from chajong.tracking.tracker import Point, facts, parameters, run_id, set_unless_said

# Before the import: it reads some of them then, and asks a server for its telemetry's settings.
set_unless_said(
    {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        # A server that does not answer is given up on within a minute, not within many.
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    }
)
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param  # noqa: E402

_MOST_AT_ONCE = 1000  # metrics in a request, by MLflow's own rule
_LONGEST = 500  # characters of a value that any store takes
_OURS = "chajong.run"


def start(run: Run) -> "Mlflow":
    """Begin to show a run, or go on with it.

    Args:
        run: The run.

    Returns:
        The tracker.
    """
    beside = run.folder.absolute().parent
    remote = os.environ.get("MLFLOW_TRACKING_URI")
    client = MlflowClient(remote or f"sqlite:///{beside / 'mlflow.db'}")
    artefacts = None if remote else (beside / "mlflow-artifacts").as_uri()
    experiment = _experiment(client, artefacts)
    name = run_id(run)
    found = client.search_runs([experiment], f"tags.`{_OURS}` = '{name}'", max_results=1)
    if found:
        made = found[0].info.run_id
        client.update_run(made, status="RUNNING")
    else:
        tags = _short({**facts(run), _OURS: name})
        made = client.create_run(experiment, tags=tags, run_name=run.name).info.run_id
    # Also of one that is there: the link may have been lost in between.
    said = [Param(key, value) for key, value in _short(parameters(run)).items()]
    client.log_batch(made, params=said)
    for file in (RECIPE, RUN):
        client.log_artifact(made, str(run.folder / file))
    return Mlflow(client, made)


class Mlflow:
    """A run in MLflow.

    Args:
        client: Speaks to the server, or to the file.
        run: MLflow's own name of the run.
    """

    def __init__(self, client: MlflowClient, run: str) -> None:
        self._client, self._run = client, run

    def last(self, series: str) -> int:
        """Ask up to where MLflow has a series.

        Args:
            series: Its name.

        Returns:
            The last `at`; 0 before any.
        """
        names = self._client.get_run(self._run).data.metrics
        ours = [name for name in names if name.startswith(f"{series}/")]
        points = (
            point.step
            for name in ours
            for point in self._client.get_metric_history(self._run, name)
        )
        return max(points, default=0)

    def log(self, points: Sequence[Point]) -> None:
        """Send what was measured.

        Args:
            points: All later than what MLflow has.
        """
        metrics = [
            Metric(f"{point.series}/{name}", value, int(point.time_s * 1000), point.at)
            for point in points
            for name, value in point.values.items()
        ]
        for begin in range(0, len(metrics), _MOST_AT_ONCE):
            self._client.log_batch(self._run, metrics[begin : begin + _MOST_AT_ONCE])

    def picture(self, path: Path) -> None:
        """Send a picture.

        Args:
            path: A PNG file, named after what it shows.
        """
        self._client.log_artifact(self._run, str(path), "pictures")

    def artefact(self, path: Path) -> None:
        """Send a file of the run.

        Args:
            path: The file.
        """
        self._client.log_artifact(self._run, str(path))

    def finish(self, done: bool) -> None:
        """Close the run; it can be opened again.

        Args:
            done: Whether it is trained, or was only stopped.
        """
        self._client.set_terminated(self._run, "FINISHED" if done else "KILLED")


def _experiment(client: MlflowClient, artefacts: str | None) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "chajong")
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name, artefacts)


def _short(values: dict[str, str]) -> dict[str, str]:
    return {name: value[:_LONGEST] for name, value in values.items()}
