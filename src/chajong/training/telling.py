"""Tells how a training goes: the record of its steps, those who watch, and services."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chajong.errors import ResourceError
from chajong.live import Live
from chajong.progress import duration, seconds_left
from chajong.recipe import Recipe
from chajong.steps import Steps
from chajong.tracking.guard import Trackers

_SHOWN_EVERY_S = 3.0


class Telling:
    """How one training goes, for everyone who wants to know.

    Args:
        folder: The model's.
        trackers: Services that are told.
        epochs: How many there will be.
        num_steps: Steps of an epoch.
        rows: Photos of a step.
        done: Steps that were done before, by other processes.
        effort: What so many photos take, in any measure.
    """

    def __init__(
        self,
        folder: Path,
        trackers: Trackers,
        epochs: int,
        num_steps: int,
        rows: int,
        done: int,
        effort: Callable[[int], float],
    ) -> None:
        self._folder, self._trackers, self._effort = folder, trackers, effort
        self._epochs, self._total, self._rows, self._first = epochs, epochs * num_steps, rows, done
        self._steps = Steps(folder, done)
        self._begin = self._shown = time.perf_counter()
        self._live: Live | None = None

    def __enter__(self) -> "Telling":
        """Begin.

        Returns:
            Itself.
        """
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Tell those who watch where the training ends early.

        Args:
            kind: Of what ended it; none if it is through.
        """
        if kind is not None and self._live is not None:
            self._live = replace(self._live, stopped=True)
            self._save()

    def epochs(self, history: Sequence[dict[str, Any]]) -> None:
        """Tell what epochs were like; those that were told before are known.

        Args:
            history: An entry an epoch.
        """
        self._trackers.epochs(self._folder.name, history)

    def step(self, done: int, loss: float, lr: float, history: Sequence[dict[str, Any]]) -> None:
        """Tell what a step was like, if none was told just now.

        Args:
            done: Steps done in all epochs.
            loss: Of its batch.
            lr: The learning rate.
            history: An entry an epoch that is done.
        """
        now = time.perf_counter()
        rate = (done - self._first) / max(now - self._begin, 1e-9)  # of this process
        values = {"loss": loss, "lr": lr, "photos_per_s": rate * self._rows}
        if self._steps.add(done, values):
            self._trackers.step(self._folder.name, done, values)
        # The checkpoint is too large to be written as often.
        if self._is_due():
            self._live = Live(
                epochs=self._epochs,
                done=done / self._total,
                loss=loss,
                photos_per_s=values["photos_per_s"],
                seconds_left=seconds_left(
                    now - self._begin,
                    self._first * self._rows,
                    done * self._rows,
                    self._total * self._rows,
                    self._effort,
                ),
                history=tuple(history),
            )
            self._save()

    def goes_on(self) -> None:
        """Tell that the training goes on, where a while passes without a step."""
        if self._live is not None and self._is_due():
            self._live = replace(self._live, time_s=time.time())
            self._save()

    def _is_due(self) -> bool:
        return time.perf_counter() - self._shown >= _SHOWN_EVERY_S

    def _save(self) -> None:
        self._shown = time.perf_counter()
        if self._live is not None:
            with suppress(ResourceError):  # the next checkpoint will say it
                self._live.save(self._folder)


def effort_of(recipe: Recipe, num_photos: int) -> Callable[[int], float]:
    """Tell what so many photos of a training take: it may grow its photos.

    Args:
        recipe: Of the training.
        num_photos: Photos of an epoch.

    Returns:
        What the first n photos take, in pixels.
    """
    # No method of what trains: it would hold the training, and a GPU keep its network for long.
    epochs = recipe.train.epochs
    pixels = [recipe.data.training_px(epoch / epochs) ** 2 for epoch in range(epochs)]
    until = np.cumsum([0, *pixels])
    return lambda photos: float(np.interp(photos / num_photos, range(epochs + 1), until))


def epoch_line(fold: str, entry: dict[str, Any], epochs: int) -> str:
    """Tell an epoch in a line.

    Args:
        fold: Name of the fold.
        entry: What was measured.
        epochs: How many there will be.

    Returns:
        The line.
    """
    parts = [f"fold {fold}  epoch {entry['epoch']}/{epochs}", f"loss {entry['loss']:.3f}"]
    if "log_loss" in entry:
        parts.append(f"validation {entry['log_loss']:.3f} (top-1 {entry['top1']:.3f})")
    parts.append(f"{entry['photos_per_s']:.0f} photos/s at {entry['size_px']} px")
    parts.append(f"waiting for data {entry['waiting_share']:.1%}")
    return "  ".join([*parts, duration(entry["seconds"])])
