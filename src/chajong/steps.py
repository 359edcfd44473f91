"""What single steps of a training were like: a line about every second, in the model's folder."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from chajong.files import make_folder, write_text

FILE = "steps.jsonl"

_EVERY_S = 1.0


class Steps:
    """The record of a training that goes on; a training that is resumed goes on with it.

    Args:
        folder: The model's.
        done: Steps that were done before. What is written of later ones is of a training that was
            cut off; they are done anew, so it is forgotten.
        every_s: Least seconds between two lines.
    """

    def __init__(self, folder: Path, done: int, every_s: float = _EVERY_S) -> None:
        self._path, self._every_s, self._last = make_folder(folder) / FILE, every_s, -every_s
        kept = [entry for entry in read_steps(folder) if entry["step"] <= done]
        if kept or self._path.exists():
            write_text(self._path, "".join(map(_line, kept)))

    def add(self, step: int, values: Mapping[str, float]) -> bool:
        """Write what a step was like, if none was written just now.

        Args:
            step: Steps done in all epochs.
            values: Figures by name.

        Returns:
            Whether it was written.
        """
        now = time.monotonic()
        if now - self._last < self._every_s:
            return False
        self._last = now
        # A full disk does not end a training here: the next checkpoint will say it.
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(_line({"step": step, "time_s": time.time(), **values}))
        return True


def read_steps(folder: Path) -> list[dict[str, Any]]:
    """Read what steps of a training were like.

    Args:
        folder: The model's.

    Returns:
        An entry a line, in order: `step`, counted from 1 over all epochs, `time_s` in seconds since
        1970, and figures. Lines that a full disk or a killed process left torn are passed over.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            entries.append(json.loads(line))
    return entries


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry) + "\n"
