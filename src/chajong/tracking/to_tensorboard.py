"""Runs in TensorBoard: event files in the run's folder, a folder of them for each model."""

import time
from collections.abc import Sequence
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from chajong.run import Run
from chajong.tracking.tracker import Point, facts


def start(run: Run) -> "TensorBoard":
    """Begin to show a run, or go on with it.

    Args:
        run: The run.

    Returns:
        The tracker.
    """
    tracker = TensorBoard(run.folder / "tensorboard")
    if not any(tracker.root.glob("events*")):
        table = "\n".join(f"| {name} | {value} |" for name, value in facts(run).items())
        tracker.text("facts", f"| | |\n| --- | --- |\n{table}")
        tracker.text("recipe", f"```\n{run.recipe.to_yaml()}```")
    return tracker


class TensorBoard:
    """A run in TensorBoard.

    Args:
        root: The folder of its event files.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._writers: dict[Path, EventFileWriter] = {}

    def last(self, series: str) -> int:
        """Tell up to where the event files have a series.

        Args:
            series: Its name.

        Returns:
            The last `at`; 0 before any.
        """
        folder, kind = self._place(series)
        return max(
            (
                int(event.step)
                for path in folder.glob("events*")
                for event in EventFileLoader(str(path)).Load()
                for value in event.summary.value
                if value.tag.startswith(f"{kind}/")
            ),
            default=0,
        )

    def log(self, points: Sequence[Point]) -> None:
        """Write what was measured.

        Args:
            points: All later than what is there.
        """
        for point in points:
            folder, kind = self._place(point.series)
            values = [
                Summary.Value(tag=f"{kind}/{name}", simple_value=value)
                for name, value in point.values.items()
            ]
            self._write(folder, values, point.at, point.time_s)
        for writer in self._writers.values():
            writer.flush()

    def picture(self, path: Path) -> None:
        """Write a picture.

        Args:
            path: A PNG file, named after what it shows.
        """
        image = Summary.Image(encoded_image_string=path.read_bytes())
        self._write(self.root, [Summary.Value(tag=path.stem, image=image)])

    def artefact(self, path: Path) -> None:
        """Write where a file lies: TensorBoard keeps none.

        Args:
            path: The file.
        """
        self.text(path.name, f"`{path.absolute()}`")

    def text(self, name: str, text: str) -> None:
        """Write a text.

        Args:
            name: Its heading.
            text: Markdown.
        """
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        self._write(self.root, [Summary.Value(tag=name, tensor=tensor, metadata=metadata)])

    def finish(self, done: bool) -> None:  # noqa: ARG002 a file is the same either way
        """Close the files.

        Args:
            done: Whether the run is trained.
        """
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _place(self, series: str) -> tuple[Path, str]:
        # A folder a model, so that the curves of all folds lie over each other.
        model, _, kind = series.rpartition("/")
        return self.root / model, kind

    def _write(
        self, folder: Path, values: list[Summary.Value], step: int = 0, time_s: float | None = None
    ) -> None:
        if folder not in self._writers:
            self._writers[folder] = EventFileWriter(str(folder))
        at = time.time() if time_s is None else time_s
        event = Event(wall_time=at, step=step, summary=Summary(value=values))
        self._writers[folder].add_event(event)
